"""Nonlocal Bayes: alike patches are estimated together, with the prior's picture as the pilot."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np

from napari_dip.core.torch_import import torch
from napari_dip.physics.correlated_noise import autocorrelation

SEARCH_RADIUS_PX = 10  # pixels around a patch in which others like it are looked for
SEARCH_STRIDE_PX = 2  # pixels between two such patches
GROUPS_PER_BATCH = 512  # groups of patches at a time
WHITE_NOISE_SHARE = 0.02  # part of smooth noise that is taken to be white
PATCHES_PER_BATCH = 2**15  # patches whose distances are held at a time


def nonlocal_bayes(
    pilot: torch.Tensor,
    data: torch.Tensor,
    deviation: torch.Tensor,
    width: float = 0.0,
    *,
    side: int,
    alike: int,
) -> Generator[None, None, torch.Tensor]:
    """Estimate patches of the scene that the `pilot` shows alike together, from the data.

    Each group gets the linear estimate with the least error, with the covariance of the pilot's
    patches, the noise as it is there, and the pilot's mean moved to that of the data where these
    differ by more than noise. Yields between two steps of the work.

    Parameters
    ----------
    pilot : (C, H, W) tensor
        The scene as far as it is known, with little noise.
    data : (C, H, W) tensor
        The scene under noise.
    deviation : (C, H, W) tensor
        Standard deviation of the noise, finite and above 0.
    width : float
        That of a Gaussian with which white noise would be smoothed to be as this one; 0 for white
        noise. [pixel]
    side : int
        Of a patch. [pixel]
    alike : int
        Patches in a group.

    References
    ----------
    .. [1] Lebrun, Buades, Morel, "A nonlocal Bayesian image denoising algorithm", SIAM J. Imaging
           Sci. 6 (2013) 1665, doi:10.1137/120874989, eq. (12); there the pilot is a first estimate of
           the same kind.
    """
    if pilot.device.type == "mps":  # Apple's GPUs know no double precision
        there = pilot.device
        pilot, data, deviation = pilot.cpu(), data.cpu(), deviation.cpu()
        found = yield from nonlocal_bayes(pilot, data, deviation, width, side=side, alike=alike)
        return found.to(there)
    channels, rows, columns = pilot.shape
    grid = _PatchGrid(rows - side + 1, columns - side + 1)
    usual = deviation.median()  # data of 1e-20 squared would vanish in float32
    picture, data, deviation = ((image / usual).flatten() for image in (pilot, data, deviation))
    inside = torch.arange(side, device=pilot.device)
    planes = torch.arange(channels, device=pilot.device)[:, None, None] * rows * columns
    offsets = (planes + inside[:, None] * columns + inside).flatten()
    grain = torch.kron(torch.eye(channels), _noise_covariance(side, width)).to(pilot.device)
    light, weight = torch.zeros((2, picture.numel()), device=pilot.device)
    for corners in grid.groups(picture.reshape(pilot.shape), side, alike):
        where = (corners[..., 0] * columns + corners[..., 1])[..., None] + offsets  # (B, K, d)
        noise = deviation[where].square().mean(dim=1, keepdim=True).sqrt()
        shown, seen = ((image[where] / noise).double() for image in (picture, data))
        mean = shown.mean(dim=1, keepdim=True)
        centred = shown - mean
        covariance = centred.mT @ centred / (alike - 1)
        mean = mean + _james_stein(seen.mean(dim=1, keepdim=True) - mean, grain, alike)
        estimate = mean + (seen - mean) @ torch.linalg.solve(covariance + grain, covariance)
        light.index_add_(0, where.flatten(), (estimate * noise).float().flatten())
        weight.index_add_(0, where.flatten(), torch.ones_like(light[:1]).expand(where.numel()))
        yield
    refined: torch.Tensor = usual * (light / weight).reshape(pilot.shape)
    return refined


def _noise_covariance(side: int, width: float) -> torch.Tensor:
    """Of the pixels of a patch, (side^2, side^2): white noise smoothed by a Gaussian, of variance 1."""
    if not width:
        return torch.eye(side**2, dtype=torch.double)
    inside = np.arange(side)
    along = torch.from_numpy(autocorrelation(side, width)[abs(inside[:, None] - inside)])
    # The matrix of a wide Gaussian has no inverse to speak of.
    smooth: torch.Tensor = torch.kron(along, along)
    return (1 - WHITE_NOISE_SHARE) * smooth + WHITE_NOISE_SHARE * torch.eye(side**2, dtype=torch.double)


def _james_stein(difference: torch.Tensor, covariance: torch.Tensor, number: int) -> torch.Tensor:
    """What of the `difference` (..., d) of two means is more than the noise of `number` data in each.

    The `covariance` (d, d) is that of one datum's noise.

    References
    ----------
    .. [1] James, Stein, "Estimation with quadratic loss", Proc. Fourth Berkeley Symp. 1 (1961) 361,
           eq. (6); its positive part.
    """
    expected = (difference.shape[-1] - 2) / number
    found = (difference @ torch.linalg.inv(covariance) * difference).sum(dim=-1, keepdim=True)
    beyond: torch.Tensor = (1 - expected / found.clamp(min=1e-12)).clamp(min=0) * difference
    return beyond


class _PatchGrid:
    """The places of all patches of a picture, and a coarser grid of those that find their like."""

    def __init__(self, height: int, width: int) -> None:
        self._shape = height, width
        self._reach = tuple(min(SEARCH_RADIUS_PX, size - 1) for size in self._shape)

    def groups(self, pilot: torch.Tensor, side: int, alike: int) -> Iterator[torch.Tensor]:
        """Rows and columns of the corners of alike patches, (B, alike, 2), some groups at a time."""
        rows, columns = (
            torch.unique(torch.tensor([*range(0, size, SEARCH_STRIDE_PX), size - 1]))
            for size in self._shape
        )
        shifts = torch.cartesian_prod(*(torch.arange(-r, r + 1) for r in self._reach)).to(pilot.device)
        for some in torch.split(rows, max(PATCHES_PER_BATCH // len(columns), 1)):
            places = torch.cartesian_prod(some, columns).to(pilot.device)
            nearest = self._distances(pilot, side, places, shifts).topk(alike, largest=False).indices
            yield from torch.split(places[:, None] + shifts[nearest], GROUPS_PER_BATCH)

    def _distances(
        self, pilot: torch.Tensor, side: int, places: torch.Tensor, shifts: torch.Tensor
    ) -> torch.Tensor:
        """Mean squares of the differences of the patches at `places` and those shifted; (N, shifts)."""
        first, last = int(places[0, 0]), int(places[-1, 0])
        top, left = self._reach
        wide = torch.nn.functional.pad(pilot[None], (left, left, top, top), mode="replicate")[0]
        here = pilot[:, first : last + side]
        found = torch.empty((len(places), len(shifts)), device=pilot.device)
        limits = torch.tensor(self._shape, device=pilot.device)
        for number, (down, right) in enumerate(shifts.tolist()):
            rows = slice(first + top + down, last + side + top + down)
            there = wide[:, rows, left + right : left + right + pilot.shape[2]]
            squares = ((there - here) ** 2).sum(dim=0)
            means = torch.nn.functional.avg_pool2d(squares[None, None], side, 1)[0, 0]
            target = places + shifts[number]
            outside = ((target < 0) | (target >= limits)).any(dim=1)
            at_places = means[places[:, 0] - first, places[:, 1]]
            found[:, number] = torch.where(outside, torch.inf, at_places)
        found[:, (shifts == 0).all(dim=1)] = -1  # itself, even where all are the same
        return found
