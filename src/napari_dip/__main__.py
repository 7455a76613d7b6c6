"""``python -m napari_dip``: the command line."""

from napari_dip.cli.app import main

main()
