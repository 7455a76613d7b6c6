"""The napari plugin: docks, layers, readers and writers over the engine; no numerics live here."""
