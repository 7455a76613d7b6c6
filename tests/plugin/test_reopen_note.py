"""An image that napari itself has opened can be opened again with what its file says about it."""

import numpy as np
from astropy.io import fits

from napari_dip.plugin.layers.metadata import METADATA_KEY


def test_a_file_that_napari_opened_is_opened_again_with_its_mask(viewer, tmp_path):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(0).normal(100, 5, (32, 40)).astype(np.float32))
    viewer.open(path, plugin="napari")
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    old, note = dock.inputs.layer, dock.inputs.reopen_note
    assert dock.form.basic_layout.isRowVisible(note)
    note.button.click()
    assert METADATA_KEY in dock.inputs.layer.metadata
    assert not old.visible
    assert not dock.form.basic_layout.isRowVisible(note)


def test_nothing_is_offered_for_an_image_that_is_no_file_or_was_read_completely(viewer, tmp_path):
    _, dock = viewer.window.add_plugin_dock_widget("napari-dip", "Denoise")
    viewer.add_image(np.zeros((32, 32)))
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.reopen_note)
    fits.PrimaryHDU(np.random.default_rng(0).normal(9, 1, (32, 32))).writeto(tmp_path / "a.fits")
    (layer,) = viewer.open(tmp_path / "a.fits", plugin="napari-dip")
    dock.inputs.image.choose(layer)
    assert not dock.form.basic_layout.isRowVisible(dock.inputs.reopen_note)
