"""Conversion of napari layers to observations, and of results to layers."""
