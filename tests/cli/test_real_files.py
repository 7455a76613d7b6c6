"""Real frames, through the command line and back: nothing that the file said may be lost."""

import sys

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from napari_dip.cli.app import main
from napari_dip.io import read_images
from napari_dip.io.fits.writer import STALE

SIDE = 160
FEW_STEPS = ["--set", "solver.max_steps=20", "--set", "network.channels=8"]
CHANGED = {"BITPIX", "SIMPLE", "EXTEND", "XTENSION", "PCOUNT", "GCOUNT", "CHECKSUM", "DATASUM"}


@pytest.fixture
def restore_file(monkeypatch, tmp_path):
    def restore_file(source, target):
        words = ["napari-dip", "run", "denoise", str(source), str(target), *FEW_STEPS]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code in (0, 3)  # a fit of a few steps restores nothing
        return target

    return restore_file


def cut(path, target):
    """The middle of a FITS image, as its own file; all cards are kept, the WCS follows."""
    with fits.open(path) as hdus:
        index = next(i for i, hdu in enumerate(hdus) if hdu.is_image and hdu.shape)
        header = hdus[index].header.copy()
        data = hdus[index].data
        wcs = WCS(header)
        middle = (data.shape[1] // 2, data.shape[0] // 2)
        piece = Cutout2D(data, middle, SIDE, wcs=wcs if wcs.has_celestial else None)
        if piece.wcs is not None:
            for keyword in ("CRPIX1", "CRPIX2"):
                header[keyword] = piece.wcs.wcs.crpix[int(keyword[-1]) - 1]
        for keyword in ("CHECKSUM", "DATASUM"):  # of the whole
            header.remove(keyword, ignore_missing=True)
        hdus[index].data = piece.data
        fits.PrimaryHDU(piece.data, header).writeto(target, output_verify="silentfix+ignore")


@pytest.mark.parametrize(
    "name",
    ["M13_blue_0001", "hst_hdfs_wfpc2", "gc_bolocam_gps", "m13_rice", "spitzer_irac_sip_nan"],
)
def test_a_fits_frame_comes_back_with_its_cards_its_wcs_and_its_holes(
    restore_file, data_folder, tmp_path, name
):
    source = tmp_path / "frame.fits"
    cut(data_folder / "astronomy" / f"{name}.fits", source)
    with fits.open(source) as old, fits.open(restore_file(source, tmp_path / "out.fits")) as new:
        header = new[0].header
        for card in old[0].header.cards:
            stale = card.keyword in {*CHANGED, ""} or STALE.fullmatch(card.keyword)
            if not stale and card.keyword not in ("HISTORY", "COMMENT"):
                assert header[card.keyword] == card.value, card.keyword
        assert new[0].data.dtype == ">f4"
        assert new[0].data.shape == old[0].data.shape
        assert np.isfinite(new[0].data).all()
        missing = ~np.isfinite(old[0].data)
        assert ("FILLED" in new) == missing.any()
        if missing.any():
            np.testing.assert_array_equal(new["FILLED"].data != 0, missing)
        before, after = WCS(old[0].header), WCS(header)
        pixels = np.array([[0, 0], [SIDE, 7]])
        np.testing.assert_array_equal(before.all_pix2world(pixels, 0), after.all_pix2world(pixels, 0))
        assert header["DIPRECIP"].startswith("{")


def test_compressed_frames_and_their_neighbours_are_written_whole(restore_file, data_folder, tmp_path):
    source = data_folder / "astronomy" / "m13_rice.fits"
    out = restore_file(source, tmp_path / "out.fits")
    with fits.open(source) as old, fits.open(out) as new:
        assert len(new) == len(old) + 1
        assert new[-1].name == "RESIDUAL"
        assert isinstance(new[1], fits.ImageHDU)
        assert new[1].data.shape == old[1].data.shape
        assert WCS(new[1].header).wcs.compare(WCS(old[1].header).wcs)
        assert not any(keyword.startswith("ZCMP") for keyword in new[1].header)


@pytest.mark.parametrize(
    ("name", "part", "axes", "sizes"),
    [
        (
            "impy_lowsnr_tzcyx_hyperstack.tif",
            np.s_[:2, :2],
            "TZCYX",
            {"X": 0.21667, "Y": 0.21667, "Z": 0.38},
        ),
        ("pims_tiff_stack_lowsnr.tif", np.s_[:2, :128, :128], "ZYX", {}),
    ],
)
def test_a_tiff_stack_comes_back_with_axes_and_pixel_sizes(
    restore_file, data_folder, tmp_path, name, part, axes, sizes
):
    path = data_folder / "microscopy" / name
    with tifffile.TiffFile(path) as tiff:
        said, page = tiff.imagej_metadata, tiff.pages[0]
        resolution = {t: page.tags[t].value for t in ("XResolution", "YResolution") if t in page.tags}
        piece = tiff.asarray()[part]
    ratio = [a / b for a, b in resolution.values()]
    keep = {key: said[key] for key in ("unit", "spacing", "finterval") if key in said}
    source = tmp_path / "stack.tif"
    tifffile.imwrite(
        source, piece, imagej=True, resolution=ratio or None, metadata={"axes": axes, **keep}
    )
    out = restore_file(source, tmp_path / "out.ome.tif")
    with tifffile.TiffFile(out) as tiff:
        assert tiff.series[0].axes == axes
        assert tiff.series[0].shape == piece.shape
        restored = tiff.asarray()
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    found = read_images(out)[0].header.pixel_size
    assert {letter: size for letter, (size, _) in found.items()} == pytest.approx(sizes, rel=1e-4)
    assert all(unit == "um" for _, unit in found.values())
