"""The dock widgets that the manifest names."""
