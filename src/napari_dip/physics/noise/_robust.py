"""Data with outliers: Huber's loss."""

from __future__ import annotations

from napari_dip.core.axes import BoolArray
from napari_dip.core.torch_import import torch
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise._wrapper import LikelihoodWrapper


class HuberLikelihood(LikelihoodWrapper):
    """Outliers count as missing, and residuals beyond three sigmas count linearly.

    The second part is equivalent to fitting y = x + outliers + noise with an L1 penalty on the outliers.

    References
    ----------
    .. [1] Huber, "Robust estimation of a location parameter", Ann. Math. Stat. 35 (1964) 73,
           doi:10.1214/aoms/1177703732
    """

    def __init__(self, inner: Likelihood, outliers: BoolArray | None) -> None:
        super().__init__(inner)
        self.outliers = outliers

    def nll(self, mean: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return huber(self._inner.nll(mean, y))


def huber(nll: torch.Tensor, threshold: float = 3.0) -> torch.Tensor:
    """Return half squares of normalized residuals, made linear in the residual beyond `threshold`."""
    sigmas = torch.sqrt(2 * nll.clamp(min=threshold**2 / 2))
    return torch.where(nll <= threshold**2 / 2, nll, threshold * sigmas - threshold**2 / 2)
