"""The napari plugin: docks, readers, writers and samples."""
