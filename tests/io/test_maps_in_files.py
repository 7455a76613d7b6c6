"""Maps in files, and the numbers of the protocol beside images."""

import json

import numpy as np
import pytest
import tifffile
from astropy.io import fits

import napari_dip as dip
from napari_dip.core.errors import ReadError, ReadWarning, WriteError
from napari_dip.core.header import Header
from napari_dip.io import read_images

TIMES = (0.012, 0.03, 0.06, 0.09)
T2 = np.linspace(0.04, 0.2, 48)


@pytest.fixture(scope="module")
def echoes():
    """(4, 40, 48)"""
    times = np.array(TIMES)[:, None, None]
    clean = np.broadcast_to(100 * np.exp(-times / T2), (4, 40, 48))
    return np.hypot(clean + np.random.default_rng(0).normal(size=clean.shape), 1).astype(np.float32)


@pytest.fixture(scope="module")
def result(echoes):
    header = Header(protocol={"EchoTime": TIMES}, pixel_size={"Y": (0.5, "mm"), "X": (0.25, "mm")})
    observation = dip.Observation.from_array(echoes, axes="TYX", header=header)
    recipe = dip.Recipe.preset("t2-map").with_settings({"solver.max_steps": 40})
    return dip.restore(observation, recipe)


@pytest.fixture
def bids(echoes, tmp_path):
    """A NIfTI file with a sidecar for each echo, and their affine matrix."""
    import nibabel

    affine = np.array([[-2, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    paths = [tmp_path / f"sub-01_echo-{n + 1}_MESE.nii.gz" for n in range(4)]
    for path, image, time in zip(paths, echoes, TIMES, strict=True):
        made = nibabel.Nifti1Image(image.T[:, :, None], affine)
        made.header.set_xyzt_units("mm", "sec")
        made.to_filename(path)
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps({"EchoTime": time, "Manufacturer": "none", "RepetitionTime": 2}))
    return paths, affine


def test_fits_has_an_extension_with_its_unit_for_each_map(result, tmp_path):
    dip.write(tmp_path / "t2.fits", result)
    with fits.open(tmp_path / "t2.fits") as hdus:
        np.testing.assert_array_equal(hdus["T2"].data, result.maps.maps["T2"])
        np.testing.assert_array_equal(hdus["T2_STD"].data, result.maps.std["T2"])
        np.testing.assert_array_equal(hdus["CHI_SQUARE"].data, result.maps.chi_square)
        assert (hdus["T2"].header["BUNIT"], hdus["T2"].header["CDELT1"]) == ("s", 0.25)
        assert "AMPLITUDE" in hdus
    assert dip.Recipe.from_json(dip.read_recipe(tmp_path / "t2.fits")).signal.echo_times == TIMES
    named = {image.header.name: image for image in read_images(tmp_path / "t2.fits")}
    assert (named["T2"].axes, named["T2"].header.unit) == ("YX", "s")
    dip.write(tmp_path / "again.fits", dip.denoise(tmp_path / "t2.fits", quality="instant"))
    with fits.open(tmp_path / "again.fits") as hdus:
        assert "T2" not in hdus  # it belongs to the image that was replaced


def test_tiff_and_zarr_have_an_image_for_each_map(result, tmp_path):
    import zarr

    dip.write(tmp_path / "t2.ome.tif", result)
    with tifffile.TiffFile(tmp_path / "t2.ome.tif") as tiff:
        found = {one.name: one for one in tiff.series}
        np.testing.assert_array_equal(found["T2 [s]"].asarray(), result.maps.maps["T2"])
        assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata.partition('Name="T2 [s]"')[2]
    dip.write(tmp_path / "t2.zarr", result)
    stored = zarr.open_group(tmp_path / "t2.zarr")["T2"]["0"][...]
    np.testing.assert_array_equal(stored, result.maps.maps["T2"])


def test_nifti_has_a_file_for_each_map_in_the_same_space(bids, result, tmp_path):
    import nibabel

    paths, affine = bids
    observation = dip.read(*paths)
    assert (observation.axes, observation.y.shape) == ("TYX", (4, 1, 1, 40, 48))
    assert observation.header.protocol["EchoTime"] == TIMES
    assert observation.header.protocol["RepetitionTimeExcitation"] == (2,) * 4
    assert observation.header.pixel_size == {"Y": (2, "mm"), "X": (2, "mm")}
    restored = dip.restore(observation, dip.Recipe.from_json(json.dumps(result.metadata["recipe"])))
    out = tmp_path / "out.nii.gz"
    dip.write(out, restored)
    image, t2 = (nibabel.load(path) for path in (out, tmp_path / "out_T2.nii.gz"))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T, restored.image)
    np.testing.assert_array_equal(np.asarray(t2.dataobj)[:, :, 0].T, restored.maps.maps["T2"])
    np.testing.assert_allclose([image.affine, t2.affine], [affine, affine])
    assert t2.header["descrip"].item() == b"T2 [s]"
    assert json.loads(dip.read_recipe(out)) == restored.metadata["recipe"]
    with pytest.raises(ReadError, match="has no recipe"):
        dip.read_recipe(paths[0])
    out.unlink()
    with pytest.raises(WriteError, match=r"out_.*nii.gz exists, and would be replaced"):
        dip.write(out, restored)


def test_other_images_as_nifti_have_their_pixel_sizes(result, tmp_path):
    import nibabel

    dip.write(tmp_path / "out.nii", result)
    made = nibabel.load(tmp_path / "out.nii")
    assert made.shape == (48, 40, 1, 4)
    assert made.header.get_zooms()[:2] == (0.25, 0.5)


def test_nifti_keeps_integers_and_forgets_a_place_that_is_not_that_of_the_grid(bids, tmp_path):
    import nibabel

    paths, affine = bids
    result = dip.denoise(paths[0], quality="instant")
    dip.write(tmp_path / "whole.nii", result, dtype=np.int16)
    made = nibabel.load(tmp_path / "whole.nii")
    assert made.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(made.dataobj)[..., 0].T, np.rint(result.image))
    np.testing.assert_allclose(made.affine, affine)
    recipe = dip.Recipe.preset("super-resolution", solver={"max_steps": 10})
    finer = dip.restore(paths[0], recipe.replace(ensemble={"size": 1}))
    dip.write(tmp_path / "finer.nii", finer)
    made = nibabel.load(tmp_path / "finer.nii")
    zoom = finer.scale_factor[0]
    assert zoom > 1
    assert made.header.get_zooms()[:2] == pytest.approx((2 / zoom, 2 / zoom))
    assert (made.header["qform_code"], made.header["sform_code"]) == (0, 0)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 4), (6, 5, 4, 3), (6, 5, 1, 3), (6, 5, 4, 1, 2)])
def test_axes_of_nifti(shape, tmp_path):
    import nibabel

    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nibabel.Nifti1Image(values, np.eye(4)).to_filename(tmp_path / "a.nii")
    image = read_images(tmp_path / "a.nii")[0]
    expected = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "CZYX"}[len(shape)]
    assert image.axes == (expected if shape[2:3] != (1,) else "TYX")
    np.testing.assert_array_equal(image.array, values.T.squeeze())


def test_complex_nifti_is_refused(tmp_path):
    import nibabel

    nibabel.Nifti1Image(np.ones((8, 8, 1), np.complex64), np.eye(4)).to_filename(tmp_path / "a.nii")
    with pytest.raises(ReadError, match="complex64: only real numbers"):
        dip.read(tmp_path / "a.nii")


def test_a_table_of_b_values(echoes, tmp_path):
    import nibabel

    nibabel.Nifti1Image(echoes.T[:, :, None], np.eye(4)).to_filename(tmp_path / "dwi.nii.gz")
    (tmp_path / "dwi.bval").write_text("0 200  400 800\n")
    found = dip.fit_maps(tmp_path / "dwi.nii.gz", "adc", method="pixelwise")
    assert found.units["ADC"] == "mm2/s"
    np.testing.assert_allclose(np.nanmedian(found.maps["ADC"]), 1e-3, rtol=0.5)


def test_a_sidecar_of_any_image_and_a_broken_one(echoes, tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", echoes, metadata={"axes": "TYX"}, ome=True)
    sidecar = tmp_path / "movie.json"
    sidecar.write_text(json.dumps({"EchoTime": TIMES, "FlipAngle": "many", "bval": []}))
    assert dip.read(tmp_path / "movie.tif").header.protocol == {"EchoTime": TIMES}
    sidecar.write_text("{")
    with pytest.warns(ReadWarning, match=r"movie\.json, beside the image, cannot be read"):
        assert dip.read(tmp_path / "movie.tif").header.protocol == {}


def test_bleaching_has_its_times_from_the_interval_of_the_movie(tmp_path):
    frames = 50 + 100 * np.exp(-np.arange(12)[:, None, None] * 0.25 / 0.8) * np.ones((1, 40, 40))
    frames += np.random.default_rng(0).normal(0, 1, frames.shape)
    metadata = {"axes": "TYX", "TimeIncrement": 250, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "a.ome.tif", frames.astype(np.float32), metadata=metadata)
    found = dip.fit_maps(tmp_path / "a.ome.tif", "decay", method="pixelwise")
    assert np.median(found.maps["tau"]) == pytest.approx(0.8, rel=0.05)


def test_dicom_has_its_numbers_in_seconds_and_its_values_scaled(tmp_path):
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    paths = []
    for echo in (12, 30):
        data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        data.Rows, data.Columns, data.PixelData = 4, 5, pixels.tobytes()
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = (
            1,
            "MONOCHROME2",
            0,
        )
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.RescaleSlope, data.RescaleIntercept = 2, -1
        data.PixelSpacing, data.SliceThickness = [0.5, 0.25], 3
        data.EchoTime, data.FlipAngle = echo, 90
        paths.append(tmp_path / f"{echo}.dcm")
        data.save_as(paths[-1], enforce_file_format=True)
    images = [read_images(path)[0] for path in paths]
    np.testing.assert_array_equal(images[0].array, 2.0 * pixels - 1)
    assert images[0].header.pixel_size == {"Y": (0.5, "mm"), "X": (0.25, "mm")}
    protocol = Header.of_frames([image.header for image in images]).protocol
    assert protocol == {"EchoTime": (0.012, 0.03), "FlipAngle": (90, 90)}
