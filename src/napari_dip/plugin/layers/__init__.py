"""From napari layers to observations, and from results to layers."""
