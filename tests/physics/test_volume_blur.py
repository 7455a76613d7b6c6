"""Blur in three dimensions: what it does, and which PSFs it takes."""

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from napari_dip import Observation, ObservationError, Recipe, restore
from napari_dip.core.fit_data import FitData
from napari_dip.physics.operators._volume_blur import center_volume
from napari_dip.physics.operators.blur import Blur
from napari_dip.run.stack import Stack

SHAPE = (7, 40, 46)


def bead(shape=(5, 17, 17), widths=(1.2, 2.0, 2.0), center=None):
    center = center or [(n - 1) / 2 for n in shape]
    z, y, x = np.indices(shape)
    distance = sum(((index - c) / w) ** 2 for index, c, w in zip((z, y, x), center, widths, strict=True))
    psf = np.exp(-distance / 2)
    return psf / psf.sum()


def observed(psf, axes="ZYX", shape=SHAPE):
    volume = np.random.default_rng(0).normal(10, 1, shape)
    return Observation.from_array(volume, axes=axes).with_auxiliary("psf", psf, axes="ZYX")


def built(observation, **settings):
    return Blur(**settings).build(FitData.from_observation(observation))


@pytest.mark.parametrize(("axes", "shape"), [("ZYX", SHAPE), ("CZYX", (2, *SHAPE))])
def test_it_is_a_convolution_of_volumes(axes, shape):
    psf = bead()
    operator = built(observed(psf, axes, shape), target_fwhm=0)
    scene = np.random.default_rng(1).normal(10, 1, operator.scene_shape)
    seen = operator(torch.from_numpy(scene.astype(np.float32)))[0].numpy()
    for volume, image in zip(
        scene.reshape(-1, 7, *scene.shape[1:]), seen.reshape(-1, *SHAPE), strict=True
    ):
        wide = np.pad(volume, ((2, 2), (0, 0), (0, 0)), mode="edge")
        np.testing.assert_allclose(image, fftconvolve(wide, psf, mode="valid"), rtol=1e-4)


@pytest.mark.parametrize("target_fwhm", [0.0, None])
def test_its_adjoint_is_its_adjoint(target_fwhm):
    operator = built(observed(bead()), target_fwhm=target_fwhm)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(operator.scene_shape, generator=generator)
    ax = operator(x)
    v = torch.randn(ax.shape, generator=generator)
    left, right = (ax.double() * v).sum(), (x.double() * operator.adjoint(v)).sum()
    assert abs(left - right) <= 1e-5 * ax.norm() * v.norm()


class TestPsf:
    def test_it_is_centered_and_has_odd_sides(self):
        given = bead((8, 20, 24), center=[3.0, 8.0, 14.0])
        psf = center_volume(given, (30, 60, 60))
        assert [n % 2 for n in psf.shape] == [1, 1, 1]
        assert psf.shape[1] == psf.shape[2]
        middle = tuple(n // 2 for n in psf.shape)
        assert np.unravel_index(psf.argmax(), psf.shape) == middle
        assert psf.sum() == pytest.approx(1)

    def test_a_measured_one_is_freed_of_its_background_and_noise(self):
        given = 1000 * bead((9, 21, 21), center=[4.3, 10.4, 9.7])
        psf = center_volume(given + np.random.default_rng(0).normal(50, 0.1, given.shape), (30, 60, 60))
        expected = bead(psf.shape)
        assert np.abs(psf - expected).max() < 0.05 * expected.max()

    def test_one_wider_than_the_image_is_refused(self):
        with pytest.raises(ObservationError, match="7 planes of 20 x 20 pixels"):
            center_volume(np.ones((5, 41, 41)), (7, 20, 20))

    def test_one_without_flux_is_refused(self):
        with pytest.raises(ObservationError, match="no flux"):
            center_volume(np.zeros((5, 9, 9)), (7, 20, 20))

    def test_it_needs_depths_that_are_restored_jointly(self):
        ((_, data), *_) = Stack().iter_blocks(observed(bead()))
        with pytest.raises(ObservationError, match=r"PSF has 5 planes: .*deconvolve-volume"):
            Blur().build(data)


def test_a_volume_is_sharper_along_z_too(fast_recipe):
    scene = np.full((9, 48, 48), 100.0)
    scene[4, 16:32, 16:32] = 400
    psf = bead((7, 15, 15), widths=(1.5, 1.5, 1.5))
    wide = np.pad(scene, ((3, 3), (7, 7), (7, 7)), mode="edge")
    image = fftconvolve(wide, psf, mode="valid")
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    preset = Recipe.preset("deconvolve-volume").with_settings({"solver.max_steps": 150})
    observation = Observation.from_array(image, axes="ZYX").with_auxiliary("psf", psf, axes="ZYX")
    result = restore(observation, preset)
    inside = np.s_[:, 20:28, 20:28]
    in_focus, beside = (x[inside].mean(axis=(1, 2)) - 100 for x in (result.image, image))
    assert in_focus[2] / in_focus[4] < 0.6 * beside[2] / beside[4]
    assert "PSF of 7 planes as given" in result.summary
