"""Data with outliers (Huber's loss)."""

from __future__ import annotations

from napari_dip.core.axes import BoolArray
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise._outliers import dilate_tracks
from napari_dip.physics.noise._wrapper import LikelihoodWrapper

MAX_OUTLIER_FRACTION = 0.02  # part of all pixels: so many are no outliers


class HuberLikelihood(LikelihoodWrapper):
    """Sharp outliers are rejected, and residuals beyond three sigmas count in proportion.

    The second is the same as fitting y = x + outliers + noise with a price on the outliers' absolute
    values.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 35 (1964) 73,
           doi:10.1214/aoms/1177703732
    """

    def __init__(self, inner: Likelihood, rejected: BoolArray) -> None:
        self.sigma, self.censored, self.is_photon_count = (
            inner.sigma,
            inner.censored,
            inner.is_photon_count,
        )
        if rejected.mean() > MAX_OUTLIER_FRACTION:
            told = f"{rejected.mean():.1%} of it is too sharp for optics: undersampled, nothing rejected"
        else:
            self.outliers = dilate_tracks(rejected)
            told = f"{int(self.outliers.sum()):,} pixels of outliers rejected"
        self.source = f"{inner.source}; {told}"
        self._inner = inner

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return huber(self._inner.nll(mean, y))

    def split(
        self, y: torch.Tensor, mean: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self._inner.split(y, mean, strength, generator)


def huber(nll: torch.Tensor, threshold: float = 3.0) -> torch.Tensor:
    """Half squares of residuals, in proportion to the residual beyond `threshold` sigmas."""
    sigmas = torch.sqrt(2 * nll.clamp(min=threshold**2 / 2))
    return torch.where(nll <= threshold**2 / 2, nll, threshold * sigmas - threshold**2 / 2)
