"""Trained networks for other places: an ONNX file, and a page (chapter 7)."""
from medlearn.export.onnx import onnx_difference, write_onnx
from medlearn.export.page import page_network, quantised, read_page_network

__all__ = ["onnx_difference", "page_network", "quantised", "read_page_network", "write_onnx"]
