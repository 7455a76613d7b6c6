"""JPEG images: how they were quantized, and images that agree with their files."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_dip import Observation, Recipe, restore
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.physics.jpeg import find_coding, from_planes, to_planes
from napari_dip.run.tiles.planner import is_amortized, supports_tiling


def decoded(image, quality):
    """The image after compression, and the steps of its luminance."""
    file = BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        steps = np.array(opened.quantization[0]).reshape(8, 8)
        return np.asarray(opened, np.float32), steps


@pytest.fixture(params=["YX", "YXC"])
def scene(request):
    """Smooth light and edges, (128, 144), gray or RGB."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :144]
    gray = 120 + 40 * np.sin(x / 7) * np.cos(y / 9) + 25.0 * ((x // 24 + y // 20) % 2)
    gray += gaussian_filter(rng.normal(0, 12, gray.shape), 1)
    if request.param == "YX":
        return np.round(gray.clip(5, 250))
    tint = 1 + 0.2 * np.stack([np.sin(x / 30), np.cos(y / 40), np.sin(y / 25)], axis=-1)
    return np.round((gray[..., None] * tint).clip(5, 250))


def channels(image):
    return image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)


@pytest.mark.parametrize("quality", [10, 30, 60])
@pytest.mark.parametrize("corner", [(0, 0), (3, 13)])
def test_the_grid_and_the_steps_are_found(scene, quality, corner):
    y, steps = decoded(scene, quality)
    coding = find_coding(channels(y)[:, corner[0] :, corner[1] :])
    assert coding.first == (-corner[0] % 8, -corner[1] % 8)
    low = np.add.outer(np.arange(8), np.arange(8)) < 3  # those that hardly vanish
    np.testing.assert_array_equal(coding.steps[low], steps[low])
    assert abs(coding.quality - quality) < 6


def test_the_truth_agrees_with_its_file(scene):
    y, _ = decoded(scene, 75)
    coding = find_coding(channels(y))
    truth = torch.from_numpy(channels(scene))
    inside = coding.project(truth)
    error = np.sqrt(np.mean((channels(y) - channels(scene)) ** 2))
    assert float((inside - truth).square().mean().sqrt()) < 0.5 * error
    again = coding.project(inside)
    torch.testing.assert_close(again, inside)  # a projection


def test_planes_are_those_of_jfif():
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    expected = np.moveaxis(np.asarray(Image.fromarray(rgb).convert("YCbCr"), float), -1, 0)
    planes = to_planes(torch.from_numpy(channels(rgb).astype(float)))
    shift = torch.tensor([0.0, 128.0, 128.0])[:, None, None]
    np.testing.assert_allclose(planes + shift, expected, atol=1)
    torch.testing.assert_close(from_planes(planes), torch.from_numpy(channels(rgb).astype(float)))


@pytest.mark.parametrize("quality", [10, 30])
def test_a_restored_image_is_nearer_to_the_truth_and_agrees_with_the_file(scene, quality):
    y, _ = decoded(scene, quality)
    axes = "YX" if scene.ndim == 2 else "YXC"
    result = restore(Observation.from_array(y, axes=axes), Recipe.preset("remove-jpeg-artifacts"))
    assert np.mean((result.image - scene) ** 2) < 0.85 * np.mean((y - scene) ** 2)
    assert "JPEG of about quality" in result.summary
    assert "no network" in result.summary
    assert result.assessment.level == "good"
    if scene.ndim == 2:  # color differences are not held
        again, _ = decoded(np.round(result.image).clip(0, 255), quality)
        assert np.mean(again == y) > 0.95


def test_an_image_is_not_cut_into_parts():
    recipe = Recipe.preset("remove-jpeg-artifacts")
    assert not supports_tiling(recipe)
    y = np.zeros((1, 1024, 1024))
    y[0, ::8] = 1
    data = FitData.from_observation(Observation.from_array(y[0], axes="YX"))
    assert not is_amortized(recipe.with_settings({"solver.method": "auto"}), data)
    with pytest.raises(SettingsError, match="its noise is that of a whole image"):
        is_amortized(recipe.with_settings({"solver.method": "amortized"}), data)


def refusals():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1, 64, 64)).astype(float)
    yield "channels", np.repeat(noise, 2, axis=0)
    yield "whole numbers from 0 to 255", noise / 255
    yield "whole numbers from 0 to 255", noise - 1
    yield "pixels are missing", np.where(noise == noise.max(), np.nan, noise)
    yield "no blocks of 8 x 8", noise
    yield "no blocks of 8 x 8", np.round(gaussian_filter(noise, (0, 2, 2)))


@pytest.mark.parametrize(("message", "y"), list(refusals()))
def test_other_images_are_refused(message, y):
    with pytest.raises(ObservationError, match=message):
        find_coding(y)


def test_there_is_one_quality():
    recipe = Recipe.preset("remove-jpeg-artifacts")
    assert all(recipe.with_quality(quality) == recipe for quality in ("instant", "fast", "best"))
