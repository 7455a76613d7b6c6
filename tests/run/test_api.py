"""The functions of the package: what goes in, what comes out, and what is refused before the work."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy import nddata

import napari_dip as dip
from napari_dip import Observation, ObservationError, Poisson, Recipe, Result, SettingsError
from napari_dip.core import interop
from napari_dip.run import recipe as recipes
from napari_dip.run.api._inpaint import _inpaint_kind

SHAPE = (40, 48)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch, request):
    """Let all qualities be fits that take a moment, unless a test is marked slow."""
    if request.node.get_closest_marker("slow"):
        return
    settings = {
        "network.channels": 8,
        "network.depth": 3,
        "solver.max_steps": 5,
        "refinement.patch_method": "none",
        "ensemble.size": 1,
    }
    for quality in ("fast", "balanced"):
        monkeypatch.setitem(recipes._QUALITY_SETTINGS, quality, settings)
    monkeypatch.setitem(recipes._QUALITY_SETTINGS, "best", settings | {"ensemble.size": 2})


@pytest.fixture
def image():
    """(40, 48) float64: a bright square under noise of standard deviation 5."""
    image = np.random.default_rng(0).normal(100, 5, SHAPE)
    image[10:20, 10:30] += 60
    return image


@pytest.fixture
def mask():
    """(40, 48) bool: twelve missing pixels."""
    mask = np.zeros(SHAPE, bool)
    mask[5:8, 20:24] = True
    return mask


def observe(*args, **options):
    return interop.to_observation(*args, **options)[0]


class TestArrays:
    @pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", ">u2", "int32"])
    def test_an_array_of_any_type_comes_back_as_float32(self, image, dtype):
        restored = dip.denoise(image.astype(dtype))
        assert type(restored) is np.ndarray
        assert restored.dtype == np.float32
        assert restored.shape == image.shape
        assert np.isfinite(restored).all()

    def test_the_input_is_not_changed(self, image, mask):
        before = image.copy()
        dip.denoise(image, mask=mask, sigma=5.0)
        np.testing.assert_array_equal(image, before)

    def test_integers_are_rounded_and_clipped(self, image):
        bright = (image - 100) * 3000
        as_float = dip.denoise(bright)
        whole = dip.denoise(bright, dtype="uint16")
        assert whole.dtype == np.uint16
        np.testing.assert_array_equal(whole, np.clip(np.rint(as_float), 0, 65535))
        assert as_float.min() < 0
        assert as_float.max() > 65535
        assert dip.denoise(image, dtype=np.float64).dtype == np.float64

    def test_the_same_seed_repeats_the_result_and_another_does_not(self, image):
        first, same, other = (dip.denoise(image, seed=seed) for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)

    def test_full_output_is_a_result_with_the_same_image(self, image):
        result = dip.denoise(image, full_output=True)
        assert isinstance(result, Result)
        np.testing.assert_array_equal(np.asarray(result), dip.denoise(image))
        np.testing.assert_array_equal(np.asarray(result, np.float64), result.image.astype(float))
        residual = np.asarray(image, np.float32) - result.image
        np.testing.assert_allclose(result.residual, residual, atol=1e-4)
        np.testing.assert_array_equal(result.normalized_residual, result.residual / result.noise_std)

    @pytest.mark.parametrize(
        ("shape", "choices"),
        [
            ((3, 40, 48), "'CYX' or 'YXC' (channels), 'TYX' (a time series), 'ZYX' (a volume)"),
            ((2, 3, 40, 48), "'TCYX'"),
            ((2, 3, 4, 40, 48), "'TCZYX'"),
            ((2000,), "'TCZYX'"),
        ],
    )
    def test_an_ambiguous_shape_is_refused_with_the_choices(self, shape, choices):
        with pytest.raises(ObservationError, match="are ambiguous: give axes") as error:
            dip.denoise(np.zeros(shape))
        assert choices in str(error.value)
        assert str(shape) in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(("channel_axis", "axes"), [(0, "CYX"), (-1, "YXC"), (2, "YXC"), (1, "YCX")])
    def test_channel_axis_names_the_axes(self, image, channel_axis, axes):
        color = np.stack([image, image + 5, image - 5], axis=channel_axis)
        result = dip.denoise(color, channel_axis=channel_axis, full_output=True)
        assert result.axes == axes
        assert result.image.shape == color.shape
        np.testing.assert_array_equal(dip.denoise(color, axes=axes), result.image)

    @pytest.mark.parametrize(("ndim", "channel_axis"), [(2, 0), (4, 0), (3, 3), (3, -4)])
    def test_a_channel_axis_that_cannot_be_is_refused(self, ndim, channel_axis):
        with pytest.raises(ObservationError):
            dip.denoise(np.random.default_rng(0).normal(size=(36,) * ndim), channel_axis=channel_axis)

    def test_a_list_of_paths_is_a_time_series(self, image, tmp_path):
        from astropy.io import fits

        paths = [tmp_path / f"{number}.fits" for number in range(2)]
        for number, path in enumerate(paths):
            fits.writeto(path, (image + number).astype(np.float32))
        result = dip.denoise([str(paths[0]), paths[1]])
        assert isinstance(result, Result)
        assert result.axes == "TYX"
        assert result.image.shape == (2, *SHAPE)

    def test_a_path_can_be_given_wherever_an_array_can(self, image, mask, tmp_path):
        from astropy.io import fits

        arrays = {
            "image": image.astype(np.float32), "mask": mask.astype(np.uint8),
            "sigma": np.full(SHAPE, 5, np.float32), "psf": np.eye(5, dtype=np.float32),
        }  # fmt: skip
        path = {name: tmp_path / f"{name}.fits" for name in arrays}
        for name, array in arrays.items():
            fits.writeto(path[name], array)
        given = dip.denoise(arrays["image"], arrays["sigma"], mask=mask)
        read = dip.denoise(path["image"], path["sigma"], mask=str(path["mask"]))
        assert isinstance(read, Result)
        assert read.header.path == str(path["image"])
        np.testing.assert_array_equal(read.image, given)
        given = dip.deconvolve(arrays["image"], arrays["psf"])
        np.testing.assert_array_equal(dip.deconvolve(path["image"], path["psf"]).image, given)

    def test_an_observation_comes_back_as_a_result(self, image, mask):
        observation = Observation.from_array(image, axes="YX", mask=mask)
        result = dip.denoise(observation)
        assert isinstance(result, Result)
        np.testing.assert_array_equal(result.image, dip.denoise(image, mask=mask))

    def test_a_mask_and_a_sigma_are_added_to_an_observation(self, image, mask):
        psf = np.eye(5)
        first = Observation.from_array(image, axes="YX").with_auxiliary("psf", psf)
        sigma = np.full(SHAPE, 5.0)
        sigma[0, 0] = 0
        observation = observe(first, mask=mask, sigma=sigma)
        expected = Observation.from_array(image, axes="YX", mask=mask, sigma=sigma)
        np.testing.assert_array_equal(observation.y, expected.y)
        np.testing.assert_array_equal(observation.observed, expected.observed)
        np.testing.assert_array_equal(observation.auxiliary["sigma"], expected.auxiliary["sigma"])
        np.testing.assert_array_equal(observation.auxiliary["psf"][0, 0, 0], psf)


class TestMasksAndNoise:
    def test_a_masked_array_comes_back_as_one(self, image, mask):
        image[mask] = 65535  # saturated
        masked = np.ma.MaskedArray(image, mask)
        restored = dip.denoise(masked)
        assert isinstance(restored, np.ma.MaskedArray)
        np.testing.assert_array_equal(restored.mask, mask)
        assert restored.data.max() < 1000
        np.testing.assert_array_equal(restored.data, dip.denoise(image, mask=mask))
        whole = dip.denoise(np.ma.MaskedArray(image.astype(np.uint16), mask), dtype="uint16")
        assert whole.dtype == np.uint16

    def test_masked_values_of_a_mask_a_psf_or_a_sigma_are_nan(self, image):
        sigma = np.ma.masked_less(np.where(np.arange(48) < 2, 0.0, 5.0) + np.zeros(SHAPE), 1)
        observation = observe(image, sigma=sigma)
        np.testing.assert_array_equal(~observation.observed[0, 0, 0], np.ma.getmaskarray(sigma))

    def test_a_mask_and_nan_are_both_missing(self, image, mask):
        image[30, 30], image[31, 31] = np.nan, np.inf
        missing = mask.copy()
        missing[30, 30] = missing[31, 31] = True
        result = dip.denoise(image, mask=mask, full_output=True)
        np.testing.assert_array_equal(result.inpainted, missing)
        np.testing.assert_array_equal(np.isnan(result.residual), missing)
        assert np.isfinite(result.image).all()

    def test_sigma_is_one_number_or_one_for_each_pixel(self, image):
        for scalar in (5, 5.0, np.float32(5), np.array(5.0)):
            result = dip.denoise(image, scalar, full_output=True)
            assert result.provenance.noise.source == "given"
            np.testing.assert_allclose(result.noise_std, 5)
        sigma = np.linspace(3, 6, image.size).reshape(SHAPE)
        np.testing.assert_allclose(
            dip.denoise(image, sigma, full_output=True).noise_std, sigma, rtol=1e-5
        )
        result = dip.restore(image, Recipe.preset("denoise").with_quality("fast"), sigma=4.0)
        np.testing.assert_allclose(result.noise_std, 4)

    def test_photon_noise_has_a_gain(self, image):
        counts = np.random.default_rng(0).poisson(np.clip(image, 0, None)).astype(float)
        result = dip.denoise(counts, noise="poisson", gain=2.0, full_output=True)
        assert result.provenance.recipe["noise"] == {
            "kind": "poisson", **Poisson(gain=2.0).model_dump(exclude={"kind"})
        }  # fmt: skip
        result = dip.denoise(
            counts, noise="poisson-gaussian", gain=2.0, read_noise=3.0, full_output=True
        )
        assert result.provenance.recipe["noise"]["read_noise"] == 3.0
        result = dip.denoise(counts, noise=Poisson(gain=1.9), full_output=True)
        assert result.provenance.recipe["noise"]["gain"] == 1.9

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (
                {"gain": 2.0},
                "gain does not apply to noise 'gaussian': use noise='poisson' or 'poisson-gaussian'",
            ),
            ({"read_noise": 2.0}, "read_noise does not apply to noise 'gaussian': use noise='poi"),
            ({"noise": "poisson", "sigma": 2.0}, "sigma does not apply to noise 'poisson'"),
            ({"noise": "poisson", "read_noise": 2.0}, "read_noise does not apply to noise 'poisson'"),
            ({"noise": Poisson(gain=2.0), "gain": 3.0}, "gain is part of the noise settings"),
            ({"noise": "speckle"}, "there is no noise 'speckle': choose gaussian, poisson, poisson-gau"),
            ({"sigma": -1.0}, "noise: setting 'sigma' is -1.0: input should be greater than 0"),
            ({"noise": "poisson", "gain": 0.0}, "noise: setting 'gain' is 0.0"),
            ({"quality": "slow"}, "there is no quality 'slow': choose instant, fast, balanced, best"),
            ({"seed": -1}, "setting 'seed' is -1"),
            ({"device": "tpu"}, "setting 'compute.device' is 'tpu'"),
        ],
    )
    def test_options_that_do_not_go_together_are_refused(self, image, options, sentence):
        with pytest.raises(SettingsError) as error:
            dip.denoise(image, **options)
        assert sentence in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_mask_of_another_shape_is_refused(self, image):
        with pytest.raises(ObservationError, match=r"the mask of shape \(40, 40\) does not match"):
            dip.denoise(image, mask=np.zeros((40, 40), bool))

    def test_the_noise_is_estimated_without_that_of_the_image(self, mask):
        rng = np.random.default_rng(0)
        noisy = rng.normal(100, 5, (64, 64))
        noise = dip.estimate_noise(noisy)
        assert noise.sigma.shape == ()
        assert float(noise.sigma) == pytest.approx(5, rel=0.1)
        assert (noise.kind, noise.source) == ("white", "estimated")
        stack = np.stack([noisy, 100 + 3 * (noisy - 100)])
        np.testing.assert_allclose(dip.estimate_noise(stack, axes="TYX").sigma, [5, 15], rtol=0.1)
        observation = Observation.from_array(noisy, axes="YX", sigma=np.full((64, 64), 99.0))
        assert float(dip.estimate_noise(observation).sigma) == pytest.approx(5, rel=0.1)
        spoilt, where = noisy.copy(), np.zeros((64, 64), bool)
        where[10:30, 10:30] = True
        spoilt[where] += rng.normal(0, 500, 400)
        assert float(dip.estimate_noise(spoilt, mask=where).sigma) == pytest.approx(5, rel=0.1)


class TestAstropy:
    def ccd(self, image, **options):
        from astropy.wcs import WCS

        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [10, 20], [-1e-4, 1e-4]
        wcs.wcs.crpix = [5, 6]
        return nddata.CCDData(image, unit="adu", wcs=wcs, meta={"OBJECT": "M 51"}, **options)

    @pytest.mark.parametrize(
        ("name", "power"),
        [("StdDevUncertainty", 1), ("VarianceUncertainty", 2), ("InverseVariance", -2)],
    )
    def test_any_uncertainty_is_the_sigma_of_the_noise(self, image, name, power):
        sigma = np.linspace(3, 6, image.size).reshape(SHAPE)
        uncertainty = getattr(nddata, name)(sigma**power)
        result = dip.denoise(self.ccd(image, uncertainty=uncertainty), full_output=True)
        np.testing.assert_allclose(result.noise_std, sigma, rtol=1e-5)
        assert result.header.unit == "adu"

    def test_an_uncertainty_in_another_unit_is_converted(self, image):
        data = nddata.NDData(
            image, unit="Jy", uncertainty=nddata.StdDevUncertainty(np.full(SHAPE, 5e3), unit="mJy")
        )
        np.testing.assert_allclose(observe(data).auxiliary["sigma"], 5)

    def test_an_unknown_uncertainty_is_refused(self, image):
        data = nddata.NDData(image, uncertainty=nddata.UnknownUncertainty(image))
        with pytest.raises(
            ObservationError, match="uncertainty of the image is of unknown type: give a Std"
        ):
            dip.denoise(data)

    def test_ccddata_come_back_with_mask_wcs_and_meta(self, image, mask):
        image[mask] = 65535
        before = self.ccd(image, mask=mask)
        after = dip.denoise(before)
        assert type(after) is nddata.CCDData
        assert after.unit == before.unit
        assert after.data.dtype == np.float32
        assert after.data.max() < 1000
        assert after.uncertainty is None
        assert dict(after.meta) == dict(before.meta)
        assert after.wcs.wcs.compare(before.wcs.wcs)
        np.testing.assert_array_equal(after.mask, mask)

    def test_nddata_come_back_as_nddata_and_have_a_psf(self, image):
        class Own(nddata.NDData):
            pass

        assert type(dip.denoise(Own(image))) is Own
        psf = np.ones((5, 5))
        data = nddata.NDData(image, psf=psf)
        np.testing.assert_array_equal(dip.deconvolve(data).data, dip.deconvolve(image, psf))

    def test_a_finer_grid_has_a_wcs_that_fits(self, image):
        before = self.ccd(image)
        after = dip.super_resolve(before, 2)
        assert after.shape == (80, 96)
        sky = before.wcs.pixel_to_world_values(10.0, 20.0)
        np.testing.assert_allclose(after.wcs.pixel_to_world_values(20.5, 40.5), sky, atol=1e-9)

    @pytest.mark.parametrize("quality", ["fast", "best"])
    def test_an_ensemble_has_an_uncertainty_and_a_single_fit_has_none(self, image, quality):
        result = dip.denoise(self.ccd(image), quality=quality, full_output=True)
        wrapped = dip.denoise(self.ccd(image), quality=quality)
        for data in (wrapped, result.to_ccddata()):
            if quality == "fast":
                assert result.uncertainty is None
                assert data.uncertainty is None
            else:
                assert result.uncertainty.shape == SHAPE
                assert isinstance(data.uncertainty, nddata.StdDevUncertainty)
                np.testing.assert_array_equal(data.uncertainty.array, result.uncertainty)

    def test_a_quantity_keeps_its_unit(self, image):
        from astropy import units

        restored = dip.denoise(image * units.mJy)
        assert restored.unit == units.mJy
        np.testing.assert_array_equal(restored.value, dip.denoise(image))

    @pytest.mark.parametrize("sigma", [4.0, np.full(SHAPE, 4.0)], ids=["number", "array"])
    def test_a_sigma_with_a_unit_is_converted(self, image, sigma):
        from astropy import units

        expected = dip.denoise(image * units.mJy, sigma)
        given = dip.denoise(image * units.mJy, sigma * 1e-3 * units.Jy)
        np.testing.assert_allclose(given.value, expected.value, rtol=1e-4)
        for other in (image * units.adu, image):
            with pytest.raises(dip.ObservationError, match="give sigma in the unit of the image"):
                dip.denoise(other, sigma * units.mJy)


class TestXarray:
    @pytest.fixture(autouse=True)
    def library(self):
        self.xr = pytest.importorskip("xarray")

    def array(self, image, **coords):
        coords = {
            "time": 7.0,
            "y": ("y", np.arange(40) * 0.5, {"units": "um"}),
            "x": ("x", np.arange(48) * 0.25 + 3),
            **coords,
        }
        return self.xr.DataArray(
            image, coords, ("y", "x"), name="DAPI", attrs={"units": "counts", "objective": "60x"}
        )

    def test_a_dataarray_comes_back_with_its_coordinates(self, image):
        lines = ("y", [f"line {number}" for number in range(40)])
        before = self.array(image, line=lines, depth=(("y", "x"), image))
        after = dip.denoise(before)
        assert isinstance(after, self.xr.DataArray)
        self.xr.testing.assert_identical(after, before.copy(data=dip.denoise(image)))
        result = dip.denoise(before, full_output=True)
        assert (result.header.name, result.header.unit) == ("DAPI", "counts")

    def test_dimensions_name_the_axes(self, image):
        stack = self.xr.DataArray(np.stack([image, image + 9]), dims=("time", "row", "column"))
        assert dip.denoise(stack, full_output=True).axes == "TYX"
        assert dip.denoise(stack).dims == ("time", "row", "column")
        unnamed = self.xr.DataArray(np.stack([image, image]))
        with pytest.raises(ObservationError, match="are ambiguous"):
            dip.denoise(unnamed)

    def test_coordinates_on_a_finer_grid_are_interpolated(self, image):
        after = dip.super_resolve(self.array(image), 2)
        assert after.dims == ("y", "x")
        np.testing.assert_allclose(after["y"], np.arange(80) * 0.25 - 0.125)
        np.testing.assert_allclose(after["x"], np.arange(96) * 0.125 + 3 - 0.0625)
        assert after["y"].attrs == {"units": "um"}
        assert after.attrs == {"units": "counts", "objective": "60x"}
        assert float(after["time"]) == 7

    @pytest.mark.parametrize(
        "coords",
        [
            {"line": ("y", [f"line {number}" for number in range(40)])},
            {"line": (("y", "x"), np.zeros(SHAPE))},
        ],
    )
    def test_coordinates_that_cannot_be_interpolated_are_refused_before_the_run(
        self, image, coords, monkeypatch
    ):
        monkeypatch.setattr("napari_dip.run.api._options.iter_restoration", pytest.fail)
        with pytest.raises(ObservationError, match=r"coordinate 'line' along y.* cannot be"):
            dip.super_resolve(self.array(image, **coords), 2)

    def test_names_of_channels_do_not_hinder_a_finer_grid(self, image):
        color = self.xr.DataArray(
            np.stack([image, image + 9], axis=-1), {"c": ["red", "green"]}, ("y", "x", "c")
        )
        after = dip.super_resolve(color, 2)
        assert after.shape == (80, 96, 2)
        assert list(after["c"].values) == ["red", "green"]

    def test_a_result_is_a_dataset(self, image):
        header = dip.Header(unit="adu", pixel_size={"X": (0.2, "um"), "Y": (0.3, "um")})
        observation = Observation.from_array(image, axes="YX", header=header)
        dataset = dip.denoise(observation).to_xarray()
        assert set(dataset) == {"image", "inpainted", "residual", "noise_std"}
        assert dataset["image"].dims == ("y", "x")
        assert dataset["image"].attrs["units"] == "adu"
        np.testing.assert_allclose(dataset["x"], np.arange(48) * 0.2)
        assert dataset["x"].attrs["units"] == "um"
        finer = dip.super_resolve(observation, 2, quality="best").to_xarray()
        assert finer["image"].dims == finer["uncertainty"].dims == ("y", "x")
        assert finer["residual"].dims == ("y_data", "x_data")
        np.testing.assert_allclose(finer["x"], np.arange(96) * 0.1)


class TestOtherLibraries:
    def test_a_tensor_comes_back_as_one(self, image):
        torch = pytest.importorskip("torch")
        tensor = torch.tensor(image, requires_grad=True)
        restored = dip.denoise(tensor)
        assert isinstance(restored, torch.Tensor)
        assert restored.dtype == torch.float32
        assert restored.device == tensor.device
        np.testing.assert_array_equal(restored.numpy(), dip.denoise(image))

    def test_a_dask_array_is_restored(self, image):
        da = pytest.importorskip("dask.array")
        np.testing.assert_array_equal(dip.denoise(da.from_array(image, chunks=20)), dip.denoise(image))

    def test_a_zarr_array_is_restored(self, image):
        zarr = pytest.importorskip("zarr")
        np.testing.assert_array_equal(dip.denoise(zarr.array(image)), dip.denoise(image))

    def test_an_image_layer_comes_back_as_layer_data(self, image):
        layers = pytest.importorskip("napari.layers")
        layer = layers.Image(
            image, name="cells", scale=(0.5, 0.25), translate=(3, 4), metadata={"from": "me"}
        )
        data, attributes, kind = dip.denoise(layer)
        assert kind == "image"
        np.testing.assert_array_equal(data, dip.denoise(image))
        restored = layers.Image(data, **attributes)
        assert restored.name == "cells [restored]"
        assert restored.metadata == {"from": "me"}
        np.testing.assert_array_equal(restored.extent.world, layer.extent.world)

    def test_a_finer_layer_has_the_same_outer_edges(self, image):
        layers = pytest.importorskip("napari.layers")
        layer = layers.Image(image, scale=(0.5, 0.25), translate=(3, 4))
        data, attributes, _ = dip.super_resolve(layer, 2)
        restored = layers.Image(data, **attributes)
        assert data.shape == (80, 96)

        def edges(layer):
            size = np.array(layer.data.shape)
            return [layer.data_to_world(corner) for corner in (np.full(2, -0.5), size - 0.5)]

        np.testing.assert_allclose(edges(restored), edges(layer))

    def test_a_rotated_layer_is_refused_before_the_run(self, image, monkeypatch):
        layers = pytest.importorskip("napari.layers")
        monkeypatch.setattr("napari_dip.run.api._options.iter_restoration", pytest.fail)
        with pytest.raises(ObservationError, match="layer 'cells' is rotated or sheared"):
            dip.super_resolve(layers.Image(image, rotate=10, name="cells"), 2)

    @pytest.mark.parametrize("rotation", [False, True])
    def test_exposures_in_one_layer_become_an_image_layer(self, image, rotation):
        layers = pytest.importorskip("napari.layers")
        layer = layers.Image(
            image + np.random.default_rng(0).normal(0, 5, (2, *SHAPE)),
            scale=(9, 0.5, 0.25),
            translate=(1, 3, 4),
            axis_labels=("t", "y", "x"),
        )
        data, attributes, _ = dip.coadd(layer, rotation=rotation)
        restored = layers.Image(data, **attributes)
        assert restored.data.shape == SHAPE
        np.testing.assert_array_equal(restored.scale, (0.5, 0.25))
        np.testing.assert_array_equal(restored.translate, (3, 4))

    def test_a_labels_layer_is_a_mask(self, image, mask):
        layers = pytest.importorskip("napari.layers")
        labels = layers.Labels(mask.astype(np.uint8) * 3)
        np.testing.assert_array_equal(dip.denoise(image, mask=labels), dip.denoise(image, mask=mask))

    def test_axes_of_layers_come_from_their_labels_or_colors(self, image):
        layers = pytest.importorskip("napari.layers")
        color = np.clip(np.stack([image] * 3, axis=-1), 0, 255).astype(np.uint8)
        assert dip.denoise(layers.Image(color), full_output=True).axes == "YXC"
        labelled = layers.Image(np.stack([image, image]), axis_labels=("t", "y", "x"))
        assert dip.denoise(labelled, full_output=True).axes == "TYX"
        with pytest.raises(ObservationError, match="are ambiguous"):
            dip.denoise(layers.Image(np.stack([image, image])))

    def test_a_layer_is_recognized_without_napari(self):
        code = (
            "import sys, numpy as np, napari_dip as dip\n"
            "from napari_dip.core import interop\n"
            "Layer = type('Layer', (), {'__module__': 'napari.layers.base'})\n"
            "class Image(Layer):\n"
            "    data = np.random.default_rng(0).normal(size=(40, 48))\n"
            "    metadata, axis_labels, name, ndim = {}, ('y', 'x'), 'cells', 2\n"
            "parts = interop.take_apart(Image())\n"
            "assert parts.axes == 'YX' and parts.array is Image.data\n"
            "others = ('napari', 'xarray', 'astropy', 'dask', 'torch')\n"
            "interop.to_observation(Image.data)\n"
            "print([name for name in others if name in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=dict(os.environ),
            check=False,
        )
        assert done.stdout.strip() == "[]", done.stderr


class TestInpaint:
    def missing(self, kind):
        missing = np.zeros((64, 80), bool)
        match kind:
            case "thin":
                missing[20:23, 5:70] = missing[10:60, 30] = True
            case "large":
                missing[20:50, 20:50] = True
            case "random":
                missing = np.random.default_rng(0).random((64, 80)) < 0.5
            case "sparse":
                missing = np.random.default_rng(0).random((64, 80)) < 0.95
        return missing

    @pytest.mark.parametrize("kind", ["thin", "large", "random", "sparse"])
    def test_the_kind_of_a_mask_is_recognized(self, kind):
        assert _inpaint_kind(self.missing(kind)[None, None, None]) == kind
        stack = np.zeros((1, 1, 3, 64, 80), bool)
        stack[:, :, 1] = self.missing(kind)
        expected = {"thin": "thin", "large": "large"}.get(kind)
        assert expected is None or _inpaint_kind(stack) == expected

    @pytest.mark.parametrize("kind", ["thin", "large", "random", "sparse"])
    def test_the_kind_is_reported_in_the_summary(self, kind):
        y, x = np.mgrid[:64, :80]
        image, missing = np.sin(x / 9) + np.cos(y / 7), self.missing(kind)
        result = dip.inpaint(image, missing, full_output=True)
        assert f"mask treated as {kind} (automatic)" in result.summary
        preset = Recipe.preset("inpaint" if kind == "thin" else f"inpaint-{kind}")
        assert result.provenance.recipe["title"] == preset.title
        np.testing.assert_array_equal(result.inpainted, missing)

    def test_a_kind_that_is_given_is_used(self, image, mask):
        result = dip.inpaint(image, mask, kind="large", full_output=True)
        assert result.provenance.recipe["title"] == Recipe.preset("inpaint-large").title
        assert "mask treated as" not in result.summary

    def test_observed_pixels_stay_exactly_as_they_are(self, image, mask):
        filled = dip.inpaint(image, mask)
        np.testing.assert_array_equal(filled[~mask], image[~mask].astype(np.float32))
        image[mask] = np.nan
        np.testing.assert_array_equal(dip.inpaint(image), filled)

    def test_nothing_missing_is_refused(self, image):
        with pytest.raises(
            ObservationError, match="nothing is missing: give a mask, or an image with NaN"
        ):
            dip.inpaint(image)


class TestTasks:
    @pytest.mark.parametrize("options", [{}, {"psf": np.eye(5), "fwhm": 2.0}])
    def test_deconvolution_needs_a_psf_or_a_width(self, image, options):
        with pytest.raises(SettingsError, match="deconvolution needs one point spread function"):
            dip.deconvolve(image, **options)

    def test_deconvolution_takes_a_width(self, image):
        result = dip.deconvolve(image, fwhm=2.5, full_output=True)
        assert result.provenance.recipe["operator"]["fwhm"] == 2.5
        assert result.image.shape == SHAPE

    @pytest.mark.parametrize(
        ("scale_factor", "shape"), [(2, (80, 96)), ((2, 1), (80, 48)), (1.5, (60, 72))]
    )
    def test_super_resolution_divides_pixels(self, image, scale_factor, shape):
        result = dip.super_resolve(image, scale_factor, full_output=True)
        assert result.image.shape == shape
        assert result.residual.shape == SHAPE

    def test_coadd_combines_images_with_masks(self, image, mask):
        whole = [np.ma.MaskedArray(image + number, mask) for number in range(3)]
        result = dip.coadd(whole, full_output=True)
        assert result.axes == "YX"
        assert result.residual_axes == "TYX"
        np.testing.assert_array_equal(np.isnan(result.residual), np.stack([mask] * 3))
        assert isinstance(dip.coadd(whole), np.ma.MaskedArray)
        stack = np.stack([np.where(mask, np.nan, exposure.data) for exposure in whole])
        np.testing.assert_array_equal(dip.coadd(stack), result.image)

    def test_coadd_removes_a_psf_of_each_exposure_and_refines_the_grid(self, image):
        psf = np.stack([np.ones((3, 3)), np.eye(3)])
        assert dip.coadd([image, image], psf=psf, scale_factor=2).shape == (80, 96)

    def test_coadd_keeps_the_noise_of_each_exposure(self, image):
        exposures = [
            nddata.CCDData(image, unit="adu", uncertainty=nddata.StdDevUncertainty(np.full(SHAPE, std)))
            for std in (4.0, 9.0)
        ]
        result = dip.coadd(exposures, full_output=True)
        np.testing.assert_allclose(result.noise_std[:, 0, 0], [4, 9])
        combined = dip.coadd(exposures)
        assert type(combined) is nddata.CCDData
        assert combined.shape == SHAPE

    def test_exposures_that_differ_in_what_they_have_are_refused(self, image):
        from astropy.nddata import CCDData, StdDevUncertainty

        noise = StdDevUncertainty(np.ones(SHAPE))
        first, other = CCDData(image, unit="adu", uncertainty=noise), CCDData(image, unit="adu")
        with pytest.raises(dip.ObservationError, match="only some exposures have sigma"):
            dip.coadd([first, other])
        with pytest.raises(dip.ObservationError, match="the unit 'electron', and the first 'adu'"):
            dip.coadd([other, CCDData(image, unit="electron")])

    def test_exposures_of_two_shapes_are_refused(self, image):
        with pytest.raises(
            ObservationError, match=r"exposure 2 has the axes YX and the shape \(38, 48\)"
        ):
            dip.coadd([image, image[2:]])
        with pytest.raises(ObservationError):
            dip.coadd([image])

    def test_mri_is_complex_in_and_out(self):
        heart = dip.datasets.cardiac_cine(side=32, coils=2, beats=(4,))
        images = dip.reconstruct_mri(heart.kspace, heart.maps)
        assert images.dtype == np.complex64
        assert images.shape == heart.truth.shape
        result = dip.reconstruct_mri(heart.kspace, heart.maps, full_output=True)
        real, imaginary = np.moveaxis(result.image, result.axes.index("C"), 0)
        np.testing.assert_array_equal(images, real + 1j * imaginary)
        assert result.header.channels == ("real", "imaginary")
        single = dip.reconstruct_mri(heart.kspace[0], heart.maps)
        assert single.shape == heart.truth.shape[1:]

    def test_mri_of_a_body_that_breathes_is_deformed(self):
        heart = dip.datasets.cardiac_cine(side=32, coils=2, beats=(4,))
        result = dip.reconstruct_mri(
            heart.kspace, heart.maps, breathing=True, full_output=True, max_steps=20
        )
        assert result.provenance.recipe["network"]["kind"] == "deforming"
        assert result.image.shape == (4, 2, 32, 32)

    def test_mri_from_a_file_is_a_result(self, tmp_path):
        heart = dip.datasets.cardiac_cine(side=32, coils=2, beats=(4,))
        np.save(tmp_path / "k.npy", heart.kspace)
        np.save(tmp_path / "maps.npy", heart.maps)
        result = dip.reconstruct_mri(tmp_path / "k.npy", tmp_path / "maps.npy")
        assert isinstance(result, Result)
        again = dip.reconstruct_mri(heart.kspace, heart.maps)
        np.testing.assert_array_equal(result.image[:, 0] + 1j * result.image[:, 1], again)

    def test_complex_coil_maps_are_auxiliary_data_of_any_recipe(self):
        heart = dip.datasets.cardiac_cine(side=32, coils=2, beats=(4,))
        given = dip.reconstruct_mri(heart.kspace, heart.maps, full_output=True)
        recipe = Recipe.preset("dynamic-mri").with_quality("balanced")
        kspace = np.concatenate((heart.kspace.real, heart.kspace.imag), axis=1)
        mask = np.concatenate((heart.kspace == 0, heart.kspace == 0), axis=1)
        coil_maps = {"coil_maps": heart.maps}
        result = dip.restore(kspace, recipe, mask=mask, auxiliary=coil_maps, axes="TCYX")
        np.testing.assert_array_equal(result.image, given.image)

    @pytest.mark.parametrize(
        "options",
        [{"noise": "poisson"}, {"gain": 2}, {"axes": "TCYX"}, {"channel_axis": 1}, {"dtype": "uint8"}],
    )
    def test_what_does_not_apply_to_kspace_is_refused(self, options):
        (name,) = options
        with pytest.raises(dip.SettingsError, match=f"{name} does not apply to k-space"):
            dip.reconstruct_mri(np.ones((4, 2, 32, 32), complex), **options)

    def test_real_kspace_is_refused(self):
        with pytest.raises(dip.RestorationError):
            dip.reconstruct_mri(np.ones((4, 2, 32, 32)))


class TestRuns:
    @pytest.fixture
    def long(self, fast_recipe):
        """A recipe that nobody waits for."""
        return fast_recipe.with_settings(
            {"stopping.kind": "fixed", "solver.max_steps": 1_000_000, "refinement.patch_method": "none"}
        )

    def test_a_callback_stops_the_run(self, image, long):
        calls = []

        def callback(progress):
            calls.append(progress)
            return progress.step >= 3

        result = dip.restore(image, long, callback=callback)
        assert result.stop_reason.startswith("stopped by hand")
        assert 3 <= result.steps < 1_000_000
        assert calls[0].members == calls[0].blocks == calls[0].tiles == 1
        assert 0 <= calls[0].fraction_done < 1

    def test_a_callback_without_a_value_does_not(self, image):
        result = dip.denoise(image, callback=lambda progress: None, full_output=True)
        assert result.steps == 5
        assert "stopped by hand" not in result.stop_reason

    def test_an_image_comes_after_it_was_requested(self, image, long):
        with dip.iter_restore(image, long) as run:
            assert next(run).image is None
            run.request_preview()
            preview = next(progress.image for progress in run if progress.image is not None)
            assert preview.shape == SHAPE
            assert np.isfinite(preview).all()
            assert next(run).image is None  # one request, one image
            run.stop()
        with pytest.raises(RuntimeError, match="the run was cancelled and has no result"):
            _ = run.result

    def test_a_request_before_the_run_starts_is_not_lost(self, image, long):
        with dip.iter_restore(image, long) as run:
            run.request_preview()
            assert any(next(run).image is not None for _ in range(20))
        with dip.iter_restore(image, long) as run:
            run.stop()
            assert run.result.steps < 100

    def test_a_stopped_run_keeps_the_best_image_so_far(self, image, long):
        with dip.iter_restore(image, long) as run:
            for progress in run:
                if progress.step >= 3:
                    run.stop()
            result = run.result
        assert result is run.result
        assert result.stop_reason.startswith("stopped by hand")
        assert np.isfinite(result.image).all()

    @pytest.mark.parametrize("begin", [False, True])
    def test_a_closed_run_has_no_result(self, image, long, begin):
        run = dip.iter_restore(image, long)
        if begin:
            next(run)
        run.close()
        run.close()
        assert list(run) == []
        with pytest.raises(RuntimeError, match="the run was cancelled and has no result"):
            _ = run.result

    def test_a_result_can_be_asked_for_at_once(self, image, fast_recipe):
        run = dip.iter_restore(image, fast_recipe)
        np.testing.assert_array_equal(run.result.image, dip.restore(image, fast_recipe).image)

    def test_snapshots_do_not_change_the_result(self, image, fast_recipe):
        with dip.iter_restore(image, fast_recipe, snapshot_every=1) as run:
            images = [progress.image for progress in run]
        assert sum(image is not None for image in images) >= 20
        np.testing.assert_array_equal(run.result.image, dip.restore(image, fast_recipe).image)

    def test_a_recipe_is_a_preset_a_file_or_a_recipe(self, image, tmp_path, fast_recipe):
        file = tmp_path / "mine.json"
        file.write_text(fast_recipe.to_json())
        expected = dip.restore(image, fast_recipe)
        for recipe in (file, str(file)):
            np.testing.assert_array_equal(dip.restore(image, recipe).image, expected.image)
        with pytest.raises(SettingsError, match="there is no preset 'denoize'; did you mean 'denoise'"):
            dip.restore(image, "denoize")

    def test_auxiliary_data_are_given_by_name(self, image, fast_recipe):
        operator = Recipe.preset("deconvolve").operator
        result = dip.restore(
            image, fast_recipe.replace(operator=operator), auxiliary={"psf": np.ones((5, 5))}
        )
        assert result.provenance.recipe["operator"]["kind"] == operator.kind


class TestRecipes:
    def test_groups_are_replaced_merged_and_overridden(self):
        recipe = (
            Recipe.preset("deconvolve", noise=Poisson(gain=1.9))
            .replace(
                stopping=dip.DataFission(tau=0.3), operator={"psf": "gaussian", "fwhm": 3.0}, seed=7
            )
            .with_settings({"noise.gain": 2.0})
            .with_quality("fast")
        )
        assert recipe.noise == Poisson(gain=2.0)
        assert recipe.stopping == dip.DataFission(tau=0.3)
        assert (recipe.operator.kind, recipe.operator.psf, recipe.operator.fwhm) == (
            "blur",
            "gaussian",
            3.0,
        )
        assert recipe.seed == 7
        assert recipe.network.channels == 8
        assert Recipe.from_json(recipe.to_json()) == recipe

    def test_a_mapping_is_merged_and_another_kind_starts_anew(self):
        recipe = Recipe.preset("denoise").replace(stopping=dip.DataFission(tau=0.3, patience=80))
        assert recipe.replace(stopping={"patience": 90}).stopping == dip.DataFission(
            tau=0.3, patience=90
        )
        assert recipe.replace(stopping={"kind": "fixed"}).stopping == dip.FixedSteps()
        same = {"kind": "data-fission", "patience": 90}
        assert recipe.replace(stopping=same).stopping == dip.DataFission(tau=0.3, patience=90)

    @pytest.mark.parametrize(
        ("groups", "sentence"),
        [
            ({"noise": {"sgma": 3}}, "did you mean 'noise.sigma'"),
            ({"noize": {}}, "there is no setting 'noize'; did you mean 'noise'"),
            ({"seed": {"a": 1}}, "setting 'seed'"),
            ({"noise": 3}, "noise"),
        ],
    )
    def test_a_group_that_does_not_exist_is_refused(self, groups, sentence):
        with pytest.raises(SettingsError) as error:
            Recipe.preset("denoise").replace(**groups)
        assert sentence in str(error.value)

    def test_presets_are_listed(self):
        presets = dip.list_presets()
        assert list(presets) == sorted(presets)
        new = {"denoise-robust", "denoise-saturated", "remove-jpeg-artifacts", "inpaint-large", "coadd"}
        old = {"clean", "saturated", "jpeg", "inpaint-region", "combine"}
        assert new <= set(presets)
        assert not old & set(presets)


def test_representations_are_one_short_line(image, mask, fast_recipe):
    with dip.iter_restore(image, fast_recipe, mask=mask, snapshot_every=1) as run:
        progress = list(run)
    result = run.result
    header = dip.Header(
        path="a.fits", unit="adu", pixel_size={"X": (0.2, "um")}, fits_header="A = 1\n" * 999
    )
    observation = Observation.from_array(image, axes="YX", mask=mask).with_auxiliary("psf", np.eye(5))
    objects = {
        "Observation": observation,
        "Result": result,
        "Recipe": Recipe.preset("denoise"),
        "Progress": progress[0],
        "Header": header,
        "NoiseProperties": dip.estimate_noise(image),
        "History": result.history[0],
    }
    for name, value in objects.items():
        text = repr(value)
        assert text.startswith(f"{name}("), text
        assert "\n" not in text
        assert len(text) < 200, text
    assert repr(observation) == "Observation(Y=40, X=48, 12 missing, auxiliary: psf)"


def test_dir_is_complete():
    code = (
        "import napari_dip, pathlib, re\n"
        "stub = pathlib.Path(napari_dip.__file__).with_name('__init__.pyi').read_text()\n"
        "listed = set(re.findall(r'\"(\\w+)\",', stub.partition('__all__')[2]))\n"
        "assert listed <= set(dir(napari_dip)), listed - set(dir(napari_dip))\n"
        "assert all(getattr(napari_dip, name) is not None for name in listed)\n"
        "print(*sorted(listed))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {
        "denoise", "inpaint", "deconvolve", "super_resolve", "coadd", "reconstruct_mri",
        "estimate_noise", "read", "write", "restore", "iter_restore", "Recipe", "list_presets",
        "Poisson", "DataFission", "Observation", "Result", "datasets", "__version__",
    }  # fmt: skip
    assert names <= set(done.stdout.split())
