"""Executable errata for documents and code that implement the Transformer."""

__version__ = "0.1.0"
