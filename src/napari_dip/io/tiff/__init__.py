"""TIFF in and out."""
