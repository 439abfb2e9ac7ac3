"""Trained networks for other places: a page (chapter 7)."""
from medlearn.export.page import page_network, quantised, read_page_network

__all__ = ["page_network", "quantised", "read_page_network"]
