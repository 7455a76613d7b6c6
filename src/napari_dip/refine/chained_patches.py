"""Chained combinations of patches: the noise is taken out in portions, each with a better pilot."""

from __future__ import annotations

from collections.abc import Generator

from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import shift_correlation
from napari_dip.refine._patch_search import find_similar, patch_offsets, square_shifts

SEARCH_RADIUS_PX = 32  # around a patch, within which similar ones are searched for
DENSE_RADIUS_PX = 20  # within which every patch is compared; every second one beyond
GRID_STRIDE_PX = 4  # between two patches that have a group
SEARCH_EVERY_PASSES = 3
FIRST_NOISE_SHARE = 0.4  # of the noise, that is left in the data by a pass before the first one


def chain_patches(
    pilot: torch.Tensor,
    data: torch.Tensor,
    std: torch.Tensor,
    correlation_sigma: float = 0.0,
    *,
    passes: int = 6,
    patch_size: int = 6,
    group_size: int = 64,
) -> Generator[None, None, torch.Tensor]:
    """Estimate the scene from the data by combinations of similar patches, in several passes.

    A generator that yields between two batches of groups.

    Parameters
    ----------
    pilot : (C, H, W) tensor
        An estimate of the scene with little noise.
    data : (C, H, W) tensor
        The scene under noise.
    std : (C, H, W) tensor
        Standard deviation of the noise, finite and above 0.
    correlation_sigma : float
        Standard deviation of the Gaussian that smoothed the noise; 0 for white noise. [pixel]
    passes : int
        Number of passes.
    patch_size : int
        Side of a patch. [pixel]
    group_size : int
        Number of similar patches that are combined.

    Returns
    -------
    (C, H, W) tensor

    Notes
    -----
    A combination has weights that sum to 1, and the smallest expected error for the patches of the pilot
    and the noise of the data. Each pass leaves some of the noise in the data, less and less, and its
    estimate is the pilot of the next; so the later ones decide about what the pilot did not show.
    Channels are decorrelated first, and patches compared in their mean.

    References
    ----------
    .. [1] Herbreteau, Kervrann, "Linear combinations of patches are unreasonably effective for
           single-image denoising", IEEE Trans. Image Process. 33 (2024) 4600, arXiv:2212.00422. There
           the first pilot comes from patches, too.
    """
    unit = std.flatten(1).median(dim=1).values[:, None, None]  # data of 1e-20 squared would vanish
    mixing = _cosine_basis(len(pilot)).to(pilot.device)
    y, x = (torch.tensordot(mixing, image / unit, dims=1) for image in (data, pilot))
    noise = torch.tensordot(mixing.square(), (std / unit).square(), dims=1).sqrt()
    width, z = y.shape[-1], y
    shifts = square_shifts(SEARCH_RADIUS_PX, DENSE_RADIUS_PX)
    correlation = None
    if correlation_sigma:
        apart = shift_correlation(2 * SEARCH_RADIUS_PX + 1, correlation_sigma)
        correlation = torch.from_numpy(apart).to(y.device)
    offsets = patch_offsets((1, *y.shape[-2:]), patch_size, y.device)
    groups: list[torch.Tensor] = []
    for number in range(passes):
        left = FIRST_NOISE_SHARE * (1 - (number + 1) / passes)
        if number % SEARCH_EVERY_PASSES == 0:
            groups = []
            for corners in find_similar(z[:1], patch_size, group_size, GRID_STRIDE_PX, shifts):
                groups.append(corners)
                yield
        sums = y.new_zeros((3, *y.shape))  # of estimates, of data with less noise, of weights
        flat_sums = sums.flatten(2)
        for corners in groups:
            places = (corners[..., 0] * width + corners[..., 1])[..., None] + offsets  # (B, K, n)
            related = None if correlation is None else correlation[_moves(corners)]
            for channel in range(len(y)):
                at = [image[channel].flatten()[places] for image in (y, x, z, noise)]
                parts = _combine(at[0], at[1], at[2], at[3], left, related)
                for total, part in zip(flat_sums[:, channel], parts, strict=True):
                    total.index_add_(0, places.flatten(), part.flatten())
            yield
        x, z = sums[:2] / sums[2]
    restored: torch.Tensor = unit * torch.tensordot(mixing.T, z, dims=1)
    return restored


def _combine(
    y: torch.Tensor,
    x: torch.Tensor,
    z: torch.Tensor,
    noise: torch.Tensor,
    left: float,
    related: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One pass over groups of patches (B, K, n): the data `y`, the pilot `x`, the data with less noise
    `z`, and the noise of `y`, of which `z` shall keep the share `left`.

    Returns the estimate and the new `z`, times their weights, and the weights. `related` is how the
    noise of the patches is correlated, (B, K, K).
    """
    removed = ((y - z) / noise).square().mean(dim=(1, 2)).sqrt()
    share = (1 - removed).clamp(min=max(left, 1e-3))  # of the noise, that z has
    variance = noise.double().square().sum(dim=2) * share[:, None].square()
    weights = _combination_weights(x.double(), variance, related)
    estimate = (weights.mT @ z.double()).float()
    keep = (left / share)[:, None, None]
    trust = (1 / weights.square().sum(dim=1))[..., None].float().expand_as(estimate)
    return trust * estimate, trust * torch.lerp(estimate, z, keep), trust


def _combination_weights(
    x: torch.Tensor, variance: torch.Tensor, related: torch.Tensor | None
) -> torch.Tensor:
    """The weights (B, K, K) of combinations of patches, one in each column.

    Parameters
    ----------
    x : (B, K, n) tensor
        The patches without noise.
    variance : (B, K) tensor
        Of the noise of each patch, summed over its pixels.
    related : (B, K, K) tensor or None
        How the noise of the patches is correlated.
    """
    x = x - x.mean(dim=1, keepdim=True)  # changes nothing, as weights sum to 1, and is more precise
    if related is None:
        scaled = x / variance[..., None]
        inner = torch.eye(x.shape[2], dtype=x.dtype, device=x.device) + x.mT @ scaled
        factor = torch.linalg.cholesky(inner)
        half = torch.linalg.solve_triangular(factor, scaled.mT, upper=False)
        inverse = torch.diag_embed(1 / variance) - half.mT @ half
    else:
        spread = variance.sqrt()
        covariance = related.to(x.dtype) * spread[:, :, None] * spread[:, None]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(x @ x.mT + covariance))
    sums = inverse.sum(dim=2)
    inverse = inverse - sums[:, :, None] * sums[:, None] / sums.sum(dim=1)[:, None, None]
    weights: torch.Tensor
    weights = -inverse * variance[:, None] if related is None else -inverse @ covariance
    weights.diagonal(dim1=1, dim2=2).add_(1)
    return weights


def _moves(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns between any two patches of each group, (B, K, K) each."""
    rows, columns = corners.unbind(dim=-1)
    return tuple((line[:, :, None] - line[:, None]).abs() for line in (rows, columns))  # type: ignore[return-value]


def _cosine_basis(number: int) -> torch.Tensor:
    """The orthonormal cosine transform of `number` channels: their mean first, then their contrasts."""
    order, place = torch.arange(number)[:, None], torch.arange(number) + 0.5
    basis: torch.Tensor = torch.cos(torch.pi * order * place / number)
    basis /= basis.norm(dim=1, keepdim=True)
    return basis
