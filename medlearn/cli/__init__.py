"""The command line: from a folder of scans to a trained network, predictions and a table."""
from medlearn.cli.commands import main

__all__ = ["main"]
