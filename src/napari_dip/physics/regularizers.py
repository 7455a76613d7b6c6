"""Explicit regularization R(x): what is known about the scene besides the prior of the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

Weight = Annotated[float, Field(ge=0, le=1e6)]


class Regularization(Settings):
    """Penalties that are added to the mean negative log-likelihood; x is in units of the noise.

    References
    ----------
    .. [1] Liu, Sun, Xu, Kamilov, "Image restoration using total variation regularized deep image
           prior", ICASSP 2019, doi:10.1109/ICASSP.2019.8682856
    """

    total_variation: Weight = 0.0
    """Weight of the total variation: for scenes of uniform areas with sharp edges; 0 for none, 0.1 a
    little, 1 a lot. [1 / noise sigma]"""
    nuclear_norm: Weight = 0.0
    """Weight of the nuclear norm: for scenes that repeat themselves; 0 for none, 0.1 a little, 1 as much
    as the largest singular value of the noise. [1 / noise sigma]"""
    nuclear_norm_of: Literal["patches", "channels"] = "patches"
    """Rows of the matrix whose nuclear norm is taken: patches of 8 x 8 pixels, or whole channels."""
    wavelet_l1: Weight = 0.0
    """Weight of the L1 norm of the wavelet coefficients, without the coarsest scale: for scenes with
    sparse details; 0 for none, 0.1 a little, 1 a lot. [1 / noise sigma]"""

    temporal_variation: Weight = 0.0
    """Weight of the total variation along time, where frames are restored jointly: for mostly static
    scenes; 0 for none, 0.1 a little, 1 a lot. [1 / noise sigma]"""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, times: int = 1) -> torch.Tensor:
        """Return the sum of all penalties on `x` (C, H, W), per pixel, for the noise `sigma` (C, 1, 1).

        The channels hold `times` frames, one after the other.
        """
        penalty = x.new_zeros(())
        if not (self.total_variation or self.nuclear_norm or self.wavelet_l1 or self.temporal_variation):
            return penalty
        x = x / sigma
        if self.total_variation:
            penalty = penalty + self.total_variation * total_variation(x) / x.numel()
        if self.nuclear_norm:
            matrix = extract_patches(x) if self.nuclear_norm_of == "patches" else x.flatten(1)
            noise = max(matrix.shape) ** 0.5  # approximately the largest singular value of the noise
            penalty = penalty + self.nuclear_norm * noise * nuclear_norm(matrix) / x.numel()
        if self.wavelet_l1:
            penalty = penalty + self.wavelet_l1 * wavelet_l1(x) / x.numel()
        if self.temporal_variation and times > 1:
            changes = x.reshape(times, -1).diff(dim=0)
            penalty = penalty + self.temporal_variation * changes.abs().mean()
        return penalty


def total_variation(x: torch.Tensor, softening: float = 1e-3) -> torch.Tensor:
    """Return the isotropic total variation of `x` (C, H, W): the sum of the gradient magnitudes.

    Differences are forward, and 0 beyond the last row and column; `softening` keeps the gradient finite
    where `x` is constant.

    References
    ----------
    .. [1] Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", Physica
           D 60 (1992) 259, doi:10.1016/0167-2789(92)90242-F
    """
    down = torch.nn.functional.pad(x.diff(dim=-2), (0, 0, 0, 1))
    right = torch.nn.functional.pad(x.diff(dim=-1), (0, 1))
    return (torch.sqrt(down**2 + right**2 + softening**2) - softening).sum()


def nuclear_norm(matrix: torch.Tensor) -> torch.Tensor:
    """Return the sum of the singular values of a matrix."""
    if not torch.isfinite(matrix).all():  # the fit diverged, and the loop will report it
        return matrix.sum() * torch.nan
    values: torch.Tensor = torch.linalg.svdvals(matrix.float())
    return values.sum()


def extract_patches(x: torch.Tensor, side: int = 8) -> torch.Tensor:
    """Return patches of `x` (C, H, W) that do not overlap, as rows: (patches, C * side * side)."""
    return torch.nn.functional.unfold(x[None], side, stride=side)[0].T


def wavelet_l1(x: torch.Tensor, wavelet: str = "db2", levels: int = 4) -> torch.Tensor:
    """Return the sum of the absolute detail coefficients of `x` (C, H, W).

    References
    ----------
    .. [1] Daubechies, Defrise, De Mol, Comm. Pure Appl. Math. 57 (2004) 1413, doi:10.1002/cpa.20042
    """
    import ptwt
    import pywt

    max_level = min(levels, pywt.dwt_max_level(min(x.shape[-2:]), wavelet))
    _, *details = ptwt.wavedec2(x, wavelet, level=max(max_level, 1), mode="reflect")
    return torch.stack([band.abs().sum() for scale in details for band in scale]).sum()
