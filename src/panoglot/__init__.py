"""Panoglot: images into trustworthy, multilingual, searchable image-text data."""

__version__ = "0.1.0"
