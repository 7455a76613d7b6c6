"""Units, calibrated values and further images of TIFF files."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

import napari_dip as dip
from napari_dip.core.errors import ReadWarning
from napari_dip.core.fit_data import FitData
from napari_dip.core.units import convert
from napari_dip.io import read_images
from napari_dip.io.tiff import reader
from napari_dip.io.tiff.calibration import read_calibration

STACK = np.random.default_rng(0).poisson(100, (4, 40, 44)).astype(np.uint16)


def ome_file(path, axes="ZYX", **metadata):
    pixels = STACK if len(axes) == 3 else STACK[0]
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": axes, **metadata})
    return path


def sizes(path):
    return dict(read_images(path)[0].header.pixel_size)


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        (0.5, "µm", (0.5, "um")),
        (108.3, "nm", (108.3, "nm")),
        (3.5, "Å", (3.5, "angstrom")),
        (2.0, "pm", (2.0, "pm")),
        (1.5, "km", (1.5, "km")),
        (0.5, "in", (12.7, "mm")),
        (1.0, "thou", (0.0254, "mm")),
        (1.0, "ft", (304.8, "mm")),
        (2.0, "pixel", None),
        (2.0, "reference frame", None),
    ],
)
def test_units_of_length_of_ome(tmp_path, size, unit, expected):
    path = ome_file(tmp_path / "a.ome.tif", "YX", PhysicalSizeX=size, PhysicalSizeXUnit=unit)
    found = sizes(path).get("X")
    assert found == (expected and (pytest.approx(expected[0]), expected[1]))


@pytest.mark.parametrize("unit", ["ns", "µs", "ms", "s", "min", "h", "d"])
def test_units_of_time_of_ome_are_written_again(tmp_path, fast_recipe, unit):
    path = ome_file(tmp_path / "a.ome.tif", "TYX", TimeIncrement=2.5, TimeIncrementUnit=unit)
    assert sizes(path)["T"] == (2.5, unit.replace("µ", "u"))
    out = tmp_path / "b.ome.tif"
    dip.write(out, dip.restore(dip.read(path), fast_recipe))
    assert f'TimeIncrementUnit="{unit}"' in tifffile.TiffFile(out).ome_metadata
    assert sizes(out)["T"] == sizes(path)["T"]


def test_angstroms_are_written_again(tmp_path, fast_recipe):
    path = ome_file(tmp_path / "a.ome.tif", "YX", PhysicalSizeX=3.5, PhysicalSizeXUnit="Å")
    out = tmp_path / "b.ome.tif"
    dip.write(out, dip.restore(dip.read(path), fast_recipe))
    assert 'PhysicalSizeXUnit="Å"' in tifffile.TiffFile(out).ome_metadata


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        (0.3, "um", "nm", 300.0),
        (35.0, "angstrom", "nm", 3.5),
        (1.0, "um", "s", None),
        (1.0, "", "um", None),
    ],
)
def test_sizes_are_converted(value, unit, to, expected):
    assert convert(value, unit, to) == (expected and pytest.approx(expected))


def test_the_spacing_of_slices_has_a_unit(tmp_path):
    path = ome_file(
        tmp_path / "a.ome.tif",
        **{f"PhysicalSize{a}": 108.3 for a in "XY"},
        **{f"PhysicalSize{a}Unit": "nm" for a in "XY"},
        PhysicalSizeZ=0.3,
        PhysicalSizeZUnit="µm",
    )
    layout = FitData.from_observation(dip.read(path)).channel_layout
    assert layout.z_spacing == pytest.approx(300 / 108.3)


def imagej_file(path, pixels=STACK, **metadata):
    tifffile.imwrite(path, pixels, imagej=True, resolution=(5, 10), metadata=metadata)
    return path


def test_imagej_has_a_unit_for_each_axis(tmp_path):
    own = {"unit": "\\u00B5m", "yunit": "nm", "zunit": "cm", "spacing": -0.5}
    path = imagej_file(tmp_path / "a.tif", axes="ZYX", **own)
    expected = {"X": (0.2, "um"), "Y": (0.1, "nm"), "Z": (0.5, "cm")}
    assert sizes(path) == {a: (pytest.approx(size), unit) for a, (size, unit) in expected.items()}
    path = imagej_file(tmp_path / "b.tif", axes="TYX", finterval=3, tunit="hr", unit="um")
    assert sizes(path)["T"] == (3.0, "h")


def test_imagej_files_are_written_in_one_unit(tmp_path, fast_recipe):
    path = ome_file(
        tmp_path / "a.ome.tif",
        **{f"PhysicalSize{a}": 100.0 for a in "XY"},
        **{f"PhysicalSize{a}Unit": "nm" for a in "XY"},
        PhysicalSizeZ=0.3,
        PhysicalSizeZUnit="µm",
    )
    out = tmp_path / "b.tif"
    dip.write(out, dip.restore(dip.read(path), fast_recipe), format="imagej")
    with tifffile.TiffFile(out) as tiff:
        assert tiff.imagej_metadata["unit"] == "nm"
        assert tiff.imagej_metadata["spacing"] == pytest.approx(300)
    path = ome_file(tmp_path / "c.ome.tif", "TYX", TimeIncrement=50, TimeIncrementUnit="ms")
    out = tmp_path / "d.tif"
    dip.write(out, dip.restore(dip.read(path), fast_recipe), format="imagej")
    assert tifffile.TiffFile(out).imagej_metadata["finterval"] == pytest.approx(0.05)


class TestCalibratedValues:
    def test_signed_integers(self, tmp_path, fast_recipe):
        stored = (STACK[0].astype(int) - 50 + 32768).astype(np.uint16)
        path = imagej_file(tmp_path / "a.tif", stored, cf=0, c0=-32768.0, c1=1.0, vunit="Gray Value")
        (image,) = read_images(path)
        assert image.array.dtype == np.int16
        np.testing.assert_array_equal(image.array, STACK[0].astype(int) - 50)
        result = dip.restore(dip.read(path), fast_recipe)
        dip.write(tmp_path / "b.tif", result, format="imagej")
        np.testing.assert_array_equal(read_images(tmp_path / "b.tif")[0].array, result.image)

    def test_other_units(self, tmp_path):
        path = imagej_file(tmp_path / "a.tif", STACK[0], cf=0, c0=10.0, c1=0.5, vunit="K")
        (image,) = read_images(path)
        np.testing.assert_allclose(image.array, 10 + 0.5 * STACK[0])
        assert image.header.unit == "K"

    @pytest.mark.parametrize(
        "said", [{}, {"cf": 0, "c0": 0.0, "c1": 1.0}, {"cf": 3, "c0": 1.0, "c1": 2.0}]
    )
    def test_no_straight_line(self, tmp_path, said):
        (image,) = read_images(imagej_file(tmp_path / "a.tif", STACK[0], **said))
        np.testing.assert_array_equal(image.array, STACK[0])


def test_stage_positions_are_no_depths(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((2, 3, 40, 48), np.uint8),
        metadata={"axes": "RTYX"},
        photometric="minisblack",
    )
    with pytest.warns(ReadWarning, match="axis R are called Z, and need not be depths"):
        (image,) = read_images(tmp_path / "a.tif")
    assert image.axes == "ZTYX"
    assert image.header.remarks[0].endswith("need not be depths")


def test_planes_of_metamorph_at_several_places_of_the_stage_are_no_depths():
    page = SimpleNamespace(photometric=1)
    places = np.array([[0.0, 0.0], [500.0, 0.0]])
    for found, expected in ((places, "TYX"), (0 * places, "ZYX")):
        parent = SimpleNamespace(stk_metadata={"StagePosition": found})
        series = SimpleNamespace(axes="ZYX", parent=parent, keyframe=page, shape=(2, 40, 48))
        letters, _ = reader._arrangement(Path("a.stk"), series)
        assert letters == expected


def test_metamorph_has_sizes_and_the_distance_of_planes():
    tiff = SimpleNamespace(
        ome_metadata=None,
        imagej_metadata=None,
        stk_metadata={
            "SpatialCalibration": 1, "CalibrationUnits": "um", "XCalibration": 0.2, "YCalibration": 0.3,
            "ZDistance": np.array([0.0, 1.5, 1.5]),
        },
    )  # fmt: skip
    found, _ = read_calibration(tiff, 0, None)
    assert found == {"X": (0.2, "um"), "Y": (0.3, "um"), "Z": (1.5, "um")}
    del tiff.stk_metadata["ZDistance"]
    assert "Z" not in read_calibration(tiff, 0, None)[0]


def test_inpainted_pixels_are_marked_in_bytes(tmp_path, fast_recipe, make_observation):
    mask = np.zeros(STACK[0].shape, bool)
    mask[5:7, 8:11] = True
    result = dip.restore(make_observation(STACK[0], mask=mask), fast_recipe)
    dip.write(tmp_path / "a.ome.tif", result)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        marked = {series.name: series.asarray() for series in tiff.series}["FILLED"]
    assert marked.dtype == np.uint8
    np.testing.assert_array_equal(marked, mask)


def test_further_images_are_named_when_left_out(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for name, pixels in (("first", STACK[0]), ("second", STACK[1][:36])):
            tiff.write(pixels, metadata={"axes": "YX", "Name": name})
    with pytest.warns(UserWarning, match=r"has 2 images, and the first is read: .*\[second\]"):
        dip.read(tmp_path / "a.ome.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dip.read(f"{tmp_path / 'a.ome.tif'}[second]").y.shape[-2:] == (36, 44)


class TestCases:
    """The files that were read wrongly."""

    @pytest.fixture
    def cases(self, data_folder):
        return data_folder / "cases" / "microscopy"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ilastik_3d_c", {"X": (2, "um"), "Y": (11, "nm"), "Z": (13, "cm")}),
            ("ilastik_5d", {"X": (17, "cm"), "Y": (13, "pm"), "Z": (8, "nm"), "T": (3, "h")}),
            ("ome_angstrom.ome", {"X": (3.5, "angstrom"), "Y": (3.5, "angstrom")}),
            ("ome_time_us.ome", {"X": (0.1, "um"), "Y": (0.1, "um"), "T": (500, "us")}),
        ],
    )
    def test_sizes(self, cases, name, expected):
        found = sizes(cases / f"{name}.tif")
        assert found == {
            a: (pytest.approx(size, rel=1e-4), unit) for a, (size, unit) in expected.items()
        }

    def test_signed_integers(self, cases):
        (image,) = read_images(cases / "imagej_signed16.tif")
        assert (image.array.min(), image.array.max()) == (0, 215)

    def test_slices_in_micrometers_over_pixels_in_nanometers(self, cases):
        observation = dip.read(cases / "ome_xy_nm_z_um.ome.tif")
        layout = FitData.from_observation(observation).channel_layout
        assert layout.z_spacing == pytest.approx(2.77, abs=0.001)

    def test_two_images(self, cases):
        with pytest.warns(UserWarning, match="has 2 images, and the first is read"):
            dip.read(cases / "two_images.tif")

    def test_a_part_of_a_set(self, cases):
        with pytest.warns(UserWarning, match=r"one part of .*: open multifile-Z1\.ome\.tiff for all"):
            read_images(cases / "ome_parts" / "multifile-Z3.ome.tiff")
        assert read_images(cases / "ome_parts" / "multifile-Z1.ome.tiff")[0].array.shape == (5, 24, 18)

    @pytest.mark.parametrize("name", ["mask_z", "mask_t"])
    def test_masks_that_name_their_axes(self, cases, name):
        (mask,) = read_images(cases / f"{name}.tif")
        observation = dip.read(cases / "hyperstack_tzyx.tif")
        masked = observation.with_mask(mask.array, axes=mask.axes)
        assert not masked.observed.all()

    def test_a_mask_with_an_axis_of_length_1(self, cases):
        (mask,) = read_images(cases / "mask_1yx.tif")
        masked = dip.read(cases / "cell_yx.tif").with_mask(mask.array, axes=mask.axes)
        np.testing.assert_array_equal(~masked.observed[0, 0, 0], mask.array[0] > 0)

    @pytest.mark.parametrize(
        ("name", "lost"), [("ome_aborted_acquisition.ome.tif", [6, 7]), ("zero_frame.tif", [3])]
    )
    def test_lost_frames_do_not_refuse_the_others(self, cases, fast_recipe, name, lost):
        image = dip.restore(dip.read(cases / name), fast_recipe).image
        for number, frame in enumerate(image):
            is_restored = bool(np.isfinite(frame).all() and np.ptp(frame) > 0)
            assert is_restored == (number not in lost)

    def test_colors_come_back_as_colors(self, cases, tmp_path, fast_recipe):
        result = dip.restore(dip.read(cases / "rgb_photo.ome.tif"), fast_recipe)
        dip.write(tmp_path / "a.ome.tif", result, dtype=np.uint8)
        (image,) = read_images(tmp_path / "a.ome.tif")
        assert (image.axes, image.rgb, image.array.shape) == ("YXC", True, (96, 96, 3))
        np.testing.assert_array_equal(image.array, result.image.clip(0, 255).round())

    def test_alpha_stays_opaque(self, cases, fast_recipe):
        image = dip.restore(dip.read(cases / "rgba_noisy.tif"), fast_recipe).image
        np.testing.assert_array_equal(image[..., 3], 255)

    def test_milliseconds_are_seconds_in_imagej(self, cases, tmp_path, fast_recipe):
        result = dip.restore(dip.read(cases / "ome_time_ms.ome.tif"), fast_recipe)
        dip.write(tmp_path / "a.tif", result, format="imagej")
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            assert tiff.imagej_metadata["finterval"] == pytest.approx(0.05)
        assert sizes(tmp_path / "a.tif")["T"] == (pytest.approx(0.05), "s")
