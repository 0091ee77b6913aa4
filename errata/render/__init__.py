"""Renderers: one file a format, each from the findings record alone."""
