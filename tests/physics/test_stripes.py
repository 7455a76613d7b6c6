"""Offsets of the rows and columns of a detector."""

import numpy as np
import pytest

from napari_dip import Recipe, restore
from napari_dip.physics._row_offsets import measure_row_offsets
from napari_dip.physics.stripes import find_stripes, remove_stripes

SIGMA = 10.0
Y, X = np.mgrid[:96, :128]
SCENE = 100 + 40 * np.sin(Y / 11) * np.cos(X / 15) + 50.0 * (np.hypot(Y - 50, X - 40) < 22)


def noise(seed=0, shape=SCENE.shape):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


def offsets_of(shape, seed=1):
    return np.random.default_rng(seed).normal(0, SIGMA, shape)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("seed", range(3))
def test_offsets_of_rows_are_found(seed):
    offsets = offsets_of((96, 1), seed + 10)
    found = measure_row_offsets(SCENE + offsets + noise(seed))
    assert found.is_sure
    assert found.std == pytest.approx(SIGMA, rel=0.25)
    assert np.std(found.offsets - offsets[:, 0]) < 0.5 * SIGMA


@pytest.mark.parametrize("scene", [SCENE, SCENE.T, np.full_like(SCENE, 3.0), 10.0 * Y, 0.3 * X])
@pytest.mark.parametrize("seed", range(3))
def test_there_are_none_in_scenes_and_noise(scene, seed):
    assert not measure_row_offsets(scene + noise(seed, scene.shape)).is_sure


@pytest.mark.parametrize("plane", [np.zeros((64, 64)), SCENE, np.full((64, 64), np.nan), 1e6 * SCENE])
def test_there_are_none_without_noise(plane):
    found = measure_row_offsets(plane)
    assert not found.is_sure
    assert np.isfinite(found.offsets).all()


def test_sparse_counts_have_none():
    counts = np.random.default_rng(0).poisson(0.05, (96, 96)).astype(float)
    assert not measure_row_offsets(counts).is_sure


def test_a_single_bad_row_is_found():
    bad = np.zeros((96, 1))
    bad[40] = -8 * SIGMA
    found = measure_row_offsets(SCENE + bad + noise())
    assert found.is_sure
    assert np.std(found.offsets - bad[:, 0]) < 0.3 * SIGMA


def test_missing_pixels_and_rows_are_left_out():
    offsets = offsets_of((96, 1))
    plane = SCENE + offsets + noise()
    plane[noise(5) > SIGMA] = np.nan
    plane[30] = np.nan
    found = measure_row_offsets(plane)
    assert found.is_sure
    known = np.arange(96) != 30
    assert np.std((found.offsets - offsets[:, 0])[known]) < 0.5 * SIGMA


def test_long_frames_are_read_in_blocks():
    scene = np.tile(SCENE, (13, 1))
    offsets = offsets_of((len(scene), 1))
    found = measure_row_offsets(scene + offsets + noise(0, scene.shape))
    assert np.std(found.offsets - offsets[:, 0]) < 0.5 * SIGMA
    assert np.std((found.offsets - offsets[:, 0])[500:524]) < 0.6 * SIGMA


def test_each_plane_has_its_own(make_observation):
    rows, columns = offsets_of((3, 96, 1)), offsets_of((3, 1, 128), 2)
    rows[1] = 0
    data = SCENE + rows + columns + noise(0, (3, *SCENE.shape))
    observation = make_observation(data, axes="TYX")
    unstriped, stripes = remove_stripes(observation, "auto")
    assert stripes.note.startswith("offsets of rows with a standard deviation of")
    assert "offsets of columns" in stripes.note
    assert not stripes.values[0][1].any()
    for part, (y, plane) in enumerate(zip(unstriped.y[:, 0, 0], data, strict=True)):
        truth = plane - rows[part] - columns[part]
        assert rms(y - truth - np.mean(y - truth)) < 0.6 * SIGMA
    total = sum(part.astype(float) for part in stripes.values)
    assert np.sum(total[0] + 0 * data[0]) == pytest.approx(0, abs=0.01 * SIGMA * data[0].size ** 0.5)
    only_rows = find_stripes(observation, "rows")
    assert not only_rows.values[1].any()
    assert find_stripes(observation, "off") is None


def test_colors_help_each_other(make_observation):
    scene = np.stack([SCENE, 0.8 * SCENE, 0.9 * SCENE + 20], axis=-1)
    offsets = offsets_of((96, 1, 3))
    data = scene + offsets + noise(0, scene.shape)
    together = find_stripes(make_observation(data, axes="YXC"), "rows").values[0][0, :, 0, :, 0]
    alone = np.array([measure_row_offsets(data[..., c]).offsets for c in range(3)])
    errors = [np.std(found - offsets[:, 0].T, axis=1) for found in (together, alone)]
    assert np.all(errors[0] < 0.9 * errors[1])


@pytest.mark.parametrize("unit", [(1, 1, 1), (1, 100, 1e-3)])
def test_colors_without_stripes_have_none(make_observation, unit):
    data = unit * np.stack([SCENE + noise(seed) for seed in range(3)], axis=-1)
    assert find_stripes(make_observation(data, axes="YXC"), "auto") is None


def test_common_offsets_of_all_colors_are_found(make_observation):
    offsets = offsets_of((96, 1))
    data = np.stack([SCENE + offsets + noise(seed) for seed in range(3)], axis=-1)
    found = find_stripes(make_observation(data, axes="YXC"), "rows").values[0][0, :, 0, :, 0]
    assert np.std(found - offsets[:, 0]) < 0.5 * SIGMA


class TestRestoration:
    @pytest.fixture
    def data(self):
        return SCENE + offsets_of((96, 1)) + noise()

    def test_without_stripes_is_closer(self, data):
        recipe = Recipe.preset("remove-stripes").with_quality("instant")
        result = restore(data, recipe)
        with_them = restore(data, Recipe.preset("denoise").with_quality("instant"))
        assert rms(result.image - SCENE) < 0.5 * rms(with_them.image - SCENE)
        assert "offsets of rows" in result.summary
        np.testing.assert_allclose(result.image + result.residual, data, atol=1e-3)
        assert result.image.sum() == pytest.approx(data.sum(), rel=1e-3)

    def test_with_stripes_is_to_be_checked(self, data):
        result = restore(data, Recipe.preset("denoise").with_quality("instant"))
        assert result.assessment.level == "check"
        assert "noise.stripes = rows removes" in result.summary

    def test_at_no_strength_is_the_data(self, data):
        recipe = Recipe.preset("remove-stripes").with_quality("instant")
        none = restore(data, recipe).at_strength(0.0)
        np.testing.assert_array_equal(none.image, data.astype(np.float32))

    def test_of_kspace_is_refused(self):
        with pytest.raises(ValueError, match="stripes"):
            Recipe.preset("dynamic-mri").with_settings({"noise.stripes": "rows"})
