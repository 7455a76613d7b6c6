"""K-space in."""
