"""Layers that bioio's plugin for napari has opened: one for each channel, OME in their metadata."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_dip.io import read_first_image
from napari_dip.plugin.layers.metadata import header_of

ome_types = pytest.importorskip("ome_types", reason="ome-types is not installed")


@pytest.fixture
def open_like_bioio(tmp_path):
    """Make the layers of a file as ndevio does, without bioio: with scales, but pixels as their unit."""
    from napari.layers import Image

    def make(*channels):
        path, planes = tmp_path / "a.ome.tif", np.ones((len(channels), 8, 9), np.float32)
        sizes = {"PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.2}
        tifffile.imwrite(
            path, planes, ome=True, metadata={"axes": "CYX", "Channel": {"Name": channels}, **sizes}
        )
        metadata = {
            "bioimage": SimpleNamespace(current_scene_index=0),
            "ome_metadata": ome_types.from_tiff(path),
        }
        return [
            Image(plane, name=f"{name} :: a.ome", scale=(0.2, 0.2), metadata=metadata)
            for name, plane in zip(channels, planes, strict=True)
        ]

    return make


def test_pixel_sizes_and_the_own_channel_are_those_of_the_file(open_like_bioio):
    _, layer = open_like_bioio("DAPI", "GFP")
    header = header_of(layer)
    assert dict(header.pixel_size) == {"X": (200, "nm"), "Y": (0.2, "um")}
    assert header.channels == ("GFP",)
    assert header.description == ""  # it says more of the other channel


def test_the_metadata_of_a_single_channel_are_kept_whole(open_like_bioio):
    (layer,) = open_like_bioio("DAPI")
    header = header_of(layer)
    assert header.channels == ("DAPI",)
    assert "<OME" in header.description


def test_other_metadata_of_these_names_say_nothing(open_like_bioio):
    (layer,) = open_like_bioio("DAPI")
    layer.metadata = {"bioimage": None, "ome_metadata": "no OME"}
    assert header_of(layer).pixel_size == {}


def test_the_name_of_the_only_channel_is_written(open_like_bioio, tmp_path):
    from napari_dip.io.files import write_image
    from napari_dip.io.image import ImageData

    _, layer = open_like_bioio("DAPI", "GFP")
    write_image(tmp_path / "out.ome.tif", ImageData(layer.data, "YX", header=header_of(layer)))
    assert read_first_image(tmp_path / "out.ome.tif").header.channels == ("GFP",)
