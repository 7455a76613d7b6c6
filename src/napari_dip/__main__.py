"""``python -m napari_dip``: the command line."""

from napari_dip.cli import main

main()
