"""Explicit regularisers R(x): what is known of the scene besides what the network's shape implies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch

Weight = Annotated[float, Field(ge=0, le=1e6)]


class Regularization(Settings):
    """Penalties added to the mean negative log-likelihood; x is taken in units of the noise.

    References
    ----------
    .. [1] Liu, Sun, Xu, Kamilov, "Image restoration using total variation regularized deep image
           prior", ICASSP 2019, doi:10.1109/ICASSP.2019.8682856
    """

    total_variation: Weight = 0.0
    """Price of a slope of one noise sigma per pixel: for scenes of flat areas with sharp borders; 0
    for none, 0.1 a little, 1 a lot. [1 / noise sigma]"""
    nuclear_norm: Weight = 0.0
    """Price of each singular value, against what noise alone puts there: for scenes that repeat
    themselves; 0 for none, 0.1 a little, 1 as much as the noise. [1 / noise sigma]"""
    nuclear_norm_of: Literal["patches", "channels"] = "patches"
    """What the rows of that matrix are: patches of 8 x 8 pixels, or whole channels."""
    wavelet_l1: Weight = 0.0
    """Price of a wavelet coefficient of one noise sigma, the coarsest scale free: for scenes with
    details at few places; 0 for none, 0.1 a little, 1 a lot. [1 / noise sigma]"""

    temporal_variation: Weight = 0.0
    """Price of a change of one noise sigma from a frame to the next, where frames are restored together:
    for scenes of which most stands still; 0 for none, 0.1 a little, 1 a lot. [1 / noise sigma]"""

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, times: int = 1) -> torch.Tensor:
        """The sum of all penalties on `x` (C, H, W), per pixel; `sigma` (C, 1, 1) is the noise.

        The first axis holds `times` frames, one after the other.
        """
        penalty = x.new_zeros(())
        if not (self.total_variation or self.nuclear_norm or self.wavelet_l1 or self.temporal_variation):
            return penalty
        x = x / sigma
        if self.total_variation:
            penalty = penalty + self.total_variation * total_variation(x) / x.numel()
        if self.nuclear_norm:
            matrix = extract_patches(x) if self.nuclear_norm_of == "patches" else x.flatten(1)
            noise = max(matrix.shape) ** 0.5  # about the largest singular value of sigma's noise
            penalty = penalty + self.nuclear_norm * noise * nuclear_norm(matrix) / x.numel()
        if self.wavelet_l1:
            penalty = penalty + self.wavelet_l1 * wavelet_l1(x) / x.numel()
        if self.temporal_variation and times > 1:
            changes = x.reshape(times, -1).diff(dim=0)
            penalty = penalty + self.temporal_variation * changes.abs().mean()
        return penalty


def total_variation(x: torch.Tensor, softening: float = 1e-3) -> torch.Tensor:
    """Isotropic total variation of `x` (C, H, W): the sum of gradient lengths, a scalar.

    Forward differences, 0 beyond the last row and column; `softening` keeps the gradient finite
    where `x` is flat.

    References
    ----------
    .. [1] Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", Physica
           D 60 (1992) 259, doi:10.1016/0167-2789(92)90242-F
    """
    down = torch.nn.functional.pad(x.diff(dim=-2), (0, 0, 0, 1))
    right = torch.nn.functional.pad(x.diff(dim=-1), (0, 1))
    return (torch.sqrt(down**2 + right**2 + softening**2) - softening).sum()


def nuclear_norm(matrix: torch.Tensor) -> torch.Tensor:
    """The sum of the singular values of a matrix, a scalar."""
    if not torch.isfinite(matrix).all():  # a fit that diverged: let the loop say so
        return matrix.sum() * torch.nan
    values: torch.Tensor = torch.linalg.svdvals(matrix.float())
    return values.sum()


def extract_patches(x: torch.Tensor, side: int = 8) -> torch.Tensor:
    """Patches of `x` (C, H, W) that do not overlap, one a row: (patches, C * side * side)."""
    return torch.nn.functional.unfold(x[None], side, stride=side)[0].T


def wavelet_l1(x: torch.Tensor, wavelet: str = "db2", levels: int = 4) -> torch.Tensor:
    """The sum of the absolute detail coefficients of `x` (C, H, W), a scalar.

    References
    ----------
    .. [1] Daubechies, Defrise, De Mol, Comm. Pure Appl. Math. 57 (2004) 1413, doi:10.1002/cpa.20042
    """
    import ptwt
    import pywt

    deepest = min(levels, pywt.dwt_max_level(min(x.shape[-2:]), wavelet))
    _, *details = ptwt.wavedec2(x, wavelet, level=max(deepest, 1), mode="reflect")
    return torch.stack([band.abs().sum() for scale in details for band in scale]).sum()
