"""Chained combinations of patches: the noise is taken out in portions, each with a better pilot."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import shift_correlation
from napari_dip.refine._patch_search import find_similar, patch_offsets, square_shifts

SEARCH_RADIUS_PX = 32  # around a patch, within which similar ones are searched for
DENSE_RADIUS_PX = 20  # within which every patch is compared; every second one beyond
GRID_STRIDE_PX = 4  # between two patches that have a group
SEARCH_EVERY_PASSES = 3
FIRST_NOISE_SHARE = 0.4  # of the noise, that is left in the data by a pass before the first one
# Without a pilot, one is made from larger patches of the data. As these are noisy themselves, the risk
# of data with more noise is minimized, to which this share of the noise is added.
FIRST_PATCH_SIZE, FIRST_GROUP_SIZE, ADDED_NOISE_SHARE = 9, 16, 0.35


def chain_patches(
    pilot: torch.Tensor | None,
    data: torch.Tensor,
    std: torch.Tensor,
    correlation_sigma: float = 0.0,
    *,
    passes: int = 6,
    patch_size: int = 6,
    group_size: int = 64,
    stride: int = GRID_STRIDE_PX,
    radius: int = SEARCH_RADIUS_PX,
    decorrelate: bool = True,
) -> Generator[None, None, torch.Tensor]:
    """Estimate the scene from the data by combinations of similar patches, in several passes.

    A generator that yields between two batches of groups.

    Parameters
    ----------
    pilot : (C, H, W) tensor or None
        An estimate of the scene with little noise. None: one that is made from patches, too.
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
    stride : int
        Distance of two patches that have a group. [pixel]
    radius : int
        Around a patch, within which similar ones are searched for. [pixel]
    decorrelate : bool
        Whether the channels are decorrelated, for patches to be compared in their mean; otherwise they
        are compared in the first one.

    Returns
    -------
    (C, H, W) tensor

    Notes
    -----
    A combination has weights that sum to 1, and the smallest expected error for the patches of the pilot
    and the noise of the data. Each pass leaves some of the noise in the data, less and less, and its
    estimate is the pilot of the next; so the later ones decide about what the pilot did not show.
    Channels are decorrelated first, and patches compared in their mean: in the average of pilot and data
    where the noise is white, in the data where it is not, and in a pilot that was made of patches.

    References
    ----------
    .. [1] Herbreteau, Kervrann, "Linear combinations of patches are unreasonably effective for
           single-image denoising", IEEE Trans. Image Process. 33 (2024) 4600, arXiv:2212.00422. There
           the first pilot always comes from patches.
    .. [2] Herbreteau, Kervrann, "A unified framework of nonlocal parametric methods for image
           denoising", SIAM J. Imaging Sci. 18 (2025) 89, section 3: the first pilot.
    """
    unit = std.flatten(1).median(dim=1).values[:, None, None]  # data of 1e-20 squared would vanish
    mixing = (_cosine_basis(len(data)) if decorrelate else torch.eye(len(data))).to(data.device)
    y = torch.tensordot(mixing, data / unit, dims=1)
    noise = torch.tensordot(mixing.square(), (std / unit).square(), dims=1).sqrt()
    shifts = square_shifts(radius, DENSE_RADIUS_PX)
    correlation = None
    if correlation_sigma:
        apart = shift_correlation(2 * radius + 1, correlation_sigma)
        correlation = torch.from_numpy(apart).to(y.device)
    if pilot is None:
        groups = find_similar(y[:1], FIRST_PATCH_SIZE, FIRST_GROUP_SIZE, stride, shifts)
        first = _Pass(y, y, y, noise, ADDED_NOISE_SHARE, correlation, is_first=True)
        x, _ = yield from first.run(groups, FIRST_PATCH_SIZE)
    else:
        x = torch.tensordot(mixing, pilot / unit, dims=1)
    pilot_share = 1.0 if pilot is None else 0.0 if correlation_sigma else 0.5
    z = y
    kept: list[torch.Tensor] = []
    for number in range(passes):
        left = FIRST_NOISE_SHARE * (1 - (number + 1) / passes)
        if number % SEARCH_EVERY_PASSES == 0:
            kept = []
            compared = torch.lerp(z, x, pilot_share)
            for corners in find_similar(compared[:1], patch_size, group_size, stride, shifts):
                kept.append(corners)
                yield
        x, z = yield from _Pass(y, x, z, noise, left, correlation).run(kept, patch_size)
    restored: torch.Tensor = unit * torch.tensordot(mixing.T, z, dims=1)
    return restored


@dataclass(frozen=True)
class _Pass:
    """One pass: the data `y`, the pilot `x`, the data with less noise `z`, and the `noise` of `y`, of
    which the share `left` stays; all (C, H, W). The first one makes a pilot of the data.
    """

    y: torch.Tensor
    x: torch.Tensor
    z: torch.Tensor
    noise: torch.Tensor
    left: float
    correlation: torch.Tensor | None
    is_first: bool = False

    def run(
        self, groups: Iterable[torch.Tensor], size: int
    ) -> Generator[None, None, tuple[torch.Tensor, torch.Tensor]]:
        """Return the estimate and the data with less noise from groups of patches, (B, K, 2) each."""
        shape, width = self.y.shape, self.y.shape[-1]
        offsets = patch_offsets((1, *shape[1:]), size, self.y.device)
        sums = self.y.new_zeros((3, *shape))  # of estimates, of data with less noise, of weights
        flat_sums = sums.flatten(2)
        for corners in groups:
            places = (corners[..., 0] * width + corners[..., 1])[..., None] + offsets  # (B, K, n)
            related = None if self.correlation is None else self.correlation[_moves(corners)]
            for channel in range(shape[0]):
                y, noise = self.y[channel].take(places), self.noise[channel].take(places)
                if self.is_first:
                    parts = _combine_data(y, noise, self.left, related)
                else:
                    x, z = self.x[channel].take(places), self.z[channel].take(places)
                    parts = _combine(y, x, z, noise, self.left, related)
                for total, part in zip(flat_sums[:, channel], parts, strict=True):
                    total.index_add_(0, places.flatten(), part.flatten())
            yield
        x, z = sums[:2] / sums[2]
        return x, z


def _combine_data(
    y: torch.Tensor, noise: torch.Tensor, added: float, related: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A first estimate from groups of noisy patches (B, K, n), as `_combine` returns it."""
    variance = added**2 * noise.double().square().sum(dim=2)
    weights = _combination_weights(y.double(), variance, related, (1 + added**2) / added**2)
    estimate = (weights.mT @ y.double()).float()
    trust = (1 / weights.square().sum(dim=1))[..., None].float().expand_as(estimate)
    return trust * estimate, trust * y, trust


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
    x: torch.Tensor, variance: torch.Tensor, related: torch.Tensor | None, removed: float = 1.0
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
    removed : float
        Noise of the combined patches, as a multiple of `variance`.
    """
    x = x - x.mean(dim=1, keepdim=True)  # changes nothing, as weights sum to 1, and is more precise
    covariance = torch.diag_embed(variance)
    if related is not None:
        spread = variance.sqrt()
        covariance = related.to(x.dtype) * spread[:, :, None] * spread[:, None]
    if related is None and x.shape[2] < x.shape[1]:  # fewer pixels than patches: the smaller matrix
        scaled = x / variance[..., None]
        inner = torch.eye(x.shape[2], dtype=x.dtype, device=x.device) + x.mT @ scaled
        half = torch.linalg.solve_triangular(torch.linalg.cholesky(inner), scaled.mT, upper=False)
        inverse = torch.diag_embed(1 / variance) - half.mT @ half
    else:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(x @ x.mT + covariance))
    sums = inverse.sum(dim=2)
    inverse -= sums[:, :, None] * (sums / sums.sum(dim=1, keepdim=True))[:, None]
    weights: torch.Tensor
    weights = inverse * variance[:, None] if related is None else inverse @ covariance
    weights *= -removed
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
