import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_dip.core.torch_import import torch
from napari_dip.refine import _patch_search, chained_patches
from napari_dip.refine._patch_search import find_similar, square_shifts
from napari_dip.refine.chained_patches import chain_patches

SIGMA = 20.0
Y, X = np.mgrid[:60, :70]
SCENE = 100 + 40 * np.sign(np.sin(X / 4)) + 0.3 * Y
NOISE = np.random.default_rng(0).normal(0, SIGMA, SCENE.shape)


def tensor(array):
    return torch.from_numpy(np.asarray(array, np.float32).reshape(-1, *np.shape(array)[-2:]))


def chained(pilot, data, std=SIGMA, *options, **sizes):
    data = tensor(data)
    pilot = None if pilot is None else tensor(pilot)
    steps = chain_patches(pilot, data, torch.full_like(data, 1) * std, *options, **sizes)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.numpy()


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def test_search_finds_the_nearest_patches():
    image = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (2, 15, 13)).astype(np.float32))
    shifts = square_shifts(4)
    found = torch.cat(list(find_similar(image, 3, 5, 4, shifts)))
    grid = [(row, column) for row in (0, 4, 8, 12) for column in (0, 4, 8, 10)]
    assert found[:, 0].tolist() == [list(corner) for corner in grid]
    patches = image.unfold(1, 3, 1).unfold(2, 3, 1)
    for (row, column), group in zip(grid, found.tolist(), strict=True):
        distances = {
            (row + down, column + right): float(
                (patches[:, row, column] - patches[:, row + down, column + right]).square().sum()
            )
            for down, right in shifts
            if 0 <= row + down < 13 and 0 <= column + right < 11
        }
        expected = sorted(distances, key=distances.get)[:5]
        assert {tuple(corner) for corner in group} == set(expected)


def test_the_groups_of_thin_images_lie_inside():
    image = tensor(np.random.default_rng(1).normal(0, 1, (6, 100)))
    (found,) = find_similar(image, 6, 64, 4, square_shifts(32, 20))
    assert found.shape[1] == 21 + 6  # what the first patch can be compared with
    assert found[..., 0].unique().tolist() == [0]
    assert 0 <= found[..., 1].min() <= found[..., 1].max() <= 94


def test_every_second_shift_is_searched_far_away():
    shifts = square_shifts(4, 1)
    assert len(shifts) == len(set(shifts)) == 9 + 25 - 1
    assert all(max(map(abs, s)) <= 1 or s[0] % 2 == s[1] % 2 == 0 for s in shifts)


def test_batches_of_the_search_change_nothing(monkeypatch):
    image = tensor(SCENE + NOISE)
    shifts = square_shifts(6)
    whole = torch.cat(list(find_similar(image, 6, 20, 4, shifts)))
    monkeypatch.setattr(_patch_search, "DISTANCES_PER_BATCH", 7000)
    parts = list(find_similar(image, 6, 20, 4, shifts))
    assert len(parts) > 3
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("is_correlated", [False, True])
def test_weights_have_the_smallest_expected_error(is_correlated):
    rng = np.random.default_rng(0)
    x, variance = rng.normal(50, 3, (2, 8, 5)), rng.uniform(4, 9, (2, 8))
    related = 0.3 ** np.abs(np.arange(8)[:, None] - np.arange(8)) * np.ones((2, 1, 1))
    given = torch.from_numpy(related) if is_correlated else None
    weights = chained_patches._combination_weights(*map(torch.from_numpy, (x, variance)), given).numpy()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    spread = np.sqrt(variance)
    covariance = (related if is_correlated else np.eye(8)) * spread[:, :, None] * spread[:, None]

    def expected_error(weights):
        bias = np.swapaxes(weights, 1, 2) @ x - x
        return (bias**2).sum() + np.einsum("bij,bik,bjk->", covariance, weights, weights)

    lowest = expected_error(weights)
    for _ in range(5):
        change = rng.normal(0, 0.01, weights.shape)
        change -= change.mean(axis=1, keepdims=True)  # they still sum to 1
        assert expected_error(weights + change) > lowest


def test_the_noise_goes_and_the_scene_stays():
    found = chained(SCENE + 0.2 * NOISE[::-1], SCENE + NOISE)[0]
    assert rms(found - SCENE) < 0.2 * SIGMA


def test_what_the_pilot_lacks_comes_back():
    pilot = gaussian_filter(SCENE, 1.5)
    found = chained(pilot, SCENE + NOISE)[0]
    assert rms(found - SCENE) < 0.5 * rms(pilot - SCENE)


def test_without_a_pilot_one_is_made():
    errors = [rms(chained(None, SCENE + NOISE, passes=passes)[0] - SCENE) for passes in (1, 2)]
    assert errors[1] < errors[0] < 0.6 * SIGMA


def test_a_flat_field_keeps_its_mean():
    data = 100 + NOISE
    found = chained(np.full(SCENE.shape, 100.0), data)[0]
    assert found.mean() == pytest.approx(data.mean(), abs=0.04 * SIGMA)
    assert rms(found - found.mean()) < 0.12 * SIGMA


@pytest.mark.parametrize("factor", [1e-20, 1e15])
def test_units_do_not_matter(factor):
    pilot, data = SCENE + 0.2 * NOISE[::-1], SCENE + NOISE
    expected = chained(pilot, data, passes=2)
    found = chained(factor * pilot, factor * data, factor * SIGMA, passes=2)
    np.testing.assert_allclose(found / factor, expected, rtol=1e-3)


def test_a_bright_star_is_not_spread():
    scene = 100 + 1e6 * np.exp(-((Y - 30.2) ** 2 + (X - 35.1) ** 2) / 4)
    found = chained(scene, scene + NOISE)[0]
    assert np.isfinite(found).all()
    assert found[24:37, 29:42].sum() == pytest.approx(scene[24:37, 29:42].sum(), rel=1e-3)
    assert rms((found - scene)[:20]) < 0.3 * SIGMA


def test_each_pixel_has_its_noise():
    std = np.where(X < 35, 0.2, 1.8) * SIGMA
    noise = NOISE * std / SIGMA
    flat = np.full(SCENE.shape, 100.0)
    right = rms(chained(flat, flat + noise, tensor(std))[0] - flat)
    wrong = rms(chained(flat, flat + noise, rms(std))[0] - flat)
    assert right < 0.8 * wrong


def test_correlated_noise_is_known_to_be_correlated():
    noise = gaussian_filter(np.random.default_rng(2).normal(0, 1, SCENE.shape), 1.0)
    noise *= SIGMA / noise.std()
    flat = np.full(SCENE.shape, 100.0)
    right = rms(chained(flat, flat + noise, SIGMA, 1.0)[0] - flat)
    wrong = rms(chained(flat, flat + noise, SIGMA)[0] - flat)
    assert right < wrong


def test_channels_share_their_groups():
    scene = np.stack([SCENE, 0.5 * SCENE, 200 - SCENE])
    noise = np.random.default_rng(3).normal(0, SIGMA, scene.shape)
    found = chained(scene + 0.2 * noise[:, ::-1], scene + noise)
    assert found.shape == scene.shape
    assert rms(found - scene) < 0.2 * SIGMA


def test_a_basis_of_channels_is_orthonormal():
    for number in (1, 2, 3, 7):
        basis = chained_patches._cosine_basis(number)
        torch.testing.assert_close(basis @ basis.T, torch.eye(number), atol=1e-6, rtol=0)
        torch.testing.assert_close(basis[0], torch.full((number,), number**-0.5))


def test_tiny_images():
    for shape in ((7, 8), (6, 6), (12, 60), (6, 60)):
        data = SCENE[: shape[0], : shape[1]] + NOISE[: shape[0], : shape[1]]
        found = chained(SCENE[: shape[0], : shape[1]], data)
        assert np.isfinite(found).all()
