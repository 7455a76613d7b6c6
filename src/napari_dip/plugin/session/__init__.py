"""A run in the background, seen from the window."""
