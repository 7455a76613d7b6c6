"""Each regularizer against a closed form, or against a library that computes it otherwise."""

import numpy as np
import pytest
import pywt
import torch
from skimage.restoration import denoise_tv_chambolle

from napari_dip import Recipe, restore
from napari_dip.physics.regularizers import (
    Regularization,
    extract_patches,
    nuclear_norm,
    total_variation,
    wavelet_l1,
)


def draw(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def test_total_variation_of_a_square_is_its_border():
    x = torch.zeros(2, 40, 40)
    x[0, 10:20, 12:30] = 3.0
    # Forward differences meet at the lower right corner only: sqrt 2 there instead of 2.
    border = 2 * (10 + 18) - 2 + np.sqrt(2)
    assert float(total_variation(x)) == pytest.approx(3 * border, rel=2e-3)


def test_minimizing_it_is_what_scikit_image_does():
    y = draw(24, 24)
    weight = 0.3
    x = y.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.01)
    for _ in range(1500):
        optimizer.zero_grad()
        (0.5 * ((x - y) ** 2).sum() + weight * total_variation(x[None])).backward()
        optimizer.step()
    expected = denoise_tv_chambolle(y.numpy(), weight=weight, eps=1e-9, max_num_iter=3000)
    np.testing.assert_allclose(x.detach().numpy(), expected, atol=0.03)


def test_the_nuclear_norm_is_the_sum_of_singular_values():
    u, _ = torch.linalg.qr(draw(30, 4))
    v, _ = torch.linalg.qr(draw(20, 4))
    values = torch.tensor([7.0, 3.0, 2.0, 0.5])
    assert float(nuclear_norm((u * values) @ v.T)) == pytest.approx(12.5, rel=1e-5)


def test_patches_are_rows_and_lose_no_pixel():
    x = draw(2, 16, 24)
    rows = extract_patches(x)
    assert rows.shape == (2 * 3, 2 * 64)
    assert torch.equal(rows[0].reshape(2, 8, 8), x[:, :8, :8])
    assert torch.equal(rows.flatten().sort().values, x.flatten().sort().values)


def test_changes_from_frame_to_frame_are_counted_in_units_of_the_noise():
    frames = draw(3, 2, 8, 8)  # T, C
    penalty = Regularization(temporal_variation=0.5)
    found = penalty(frames.reshape(6, 8, 8), torch.full((6, 1, 1), 2.0), times=3)
    expected = 0.5 * np.abs(np.diff(frames.numpy(), axis=0) / 2).mean()
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(penalty(frames.reshape(6, 8, 8), torch.ones(6, 1, 1))) == 0  # colors are no frames


def test_wavelet_l1_is_that_of_pywavelets():
    x = draw(1, 64, 48)
    levels = min(4, pywt.dwt_max_level(48, "db2"))
    _, *details = pywt.wavedec2(x[0].numpy(), "db2", mode="reflect", level=levels)
    expected = sum(np.abs(band).sum() for scale in details for band in scale)
    assert float(wavelet_l1(x)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["total_variation", "nuclear_norm", "wavelet_l1"])
class TestEachPenalty:
    def test_it_is_off_by_default_and_counts_in_sigmas(self, name):
        x, sigma = draw(1, 32, 32), torch.full((1, 1, 1), 2.0)
        assert float(Regularization()(x, sigma)) == 0
        penalty = Regularization(**{name: 0.5})
        assert float(penalty(x, sigma)) > 0
        assert float(penalty(7 * x, 7 * sigma)) == pytest.approx(float(penalty(x, sigma)), rel=1e-3)

    def test_it_can_be_differentiated_where_the_image_is_flat(self, name):
        x = torch.zeros(1, 32, 32, requires_grad=True)
        Regularization(**{name: 1.0})(x, torch.ones(1, 1, 1)).backward()
        assert torch.isfinite(x.grad).all()

    def test_a_run_with_it_ends_with_less_of_it(self, name, noisy, fast_recipe):
        settings = {"stopping.kind": "fixed", "solver.max_steps": 60, "refinement.patch_method": "none"}
        plain = fast_recipe.with_settings(settings)
        regularized = plain.with_settings({f"regularization.{name}": 20.0})
        penalty, one = Regularization(**{name: 1.0}), torch.ones(1, 1, 1)
        without, with_it = (
            float(penalty(torch.from_numpy(restore(noisy, recipe).image[None]), one))
            for recipe in (plain, regularized)
        )
        # 0.03, 0.06 and 0.72 of it (nuclear norm).
        assert with_it < (0.9 if name == "nuclear_norm" else 0.3) * without


def test_rows_may_be_channels(noisy):
    two = np.stack([noisy, 2 * noisy])
    x = torch.from_numpy(two.astype(np.float32))
    penalty = Regularization(nuclear_norm=1.0, nuclear_norm_of="channels")
    expected = np.linalg.norm(two.reshape(2, -1)) * np.sqrt(noisy.size) / two.size  # rank 1
    assert float(penalty(x, torch.ones(2, 1, 1))) == pytest.approx(expected, rel=1e-4)


def test_the_recipe_carries_them():
    recipe = Recipe().with_settings({"regularization.total_variation": 0.1})
    assert Recipe.from_json(recipe.to_json()).regularization.total_variation == 0.1
