"""Blur in three dimensions: the PSF of a microscope, which also spreads light to other planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.axes import ChannelLayout
from napari_dip.core.errors import ObservationError
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators.base import Operator

MIN_PSF_SIGMAS = 3.0  # of the noise of a measured PSF, below which it is 0


def center_volume(psf: NDArray[np.float64], sides: tuple[int, ...]) -> NDArray[np.float64]:
    """Return a PSF (Z, Y, X) about its center of mass, with odd sides and sum 1, without background.

    Parameters
    ----------
    psf : (Z, Y, X) array
        Image of a point, such as a bead.
    sides : (Z, Y, X)
        Of the image.

    Raises
    ------
    ObservationError
        If it has no flux, or is wider than the image.
    """
    from scipy.ndimage import center_of_mass
    from scipy.ndimage import shift as shifted

    psf = np.nan_to_num(psf)
    rim = np.concatenate([psf[:, 0], psf[:, -1]], axis=-1)
    noise = 1.4826 * float(np.median(np.abs(np.diff(rim, 2)))) / np.sqrt(6)
    if noise > 1e-6 * psf.max():  # measured, and not computed
        level = float(np.median(rim))
        psf = np.where(psf - level > MIN_PSF_SIGMAS * noise, psf - level, 0)
    psf = np.clip(psf, 0, None)
    if not psf.sum() > 0:
        raise ObservationError("the PSF has no flux: give the image of a single bead")
    center = np.array(center_of_mass(psf))
    whole = np.round(center).astype(int)
    half = np.max([whole, np.array(psf.shape) - 1 - whole], axis=0)
    padded = np.pad(psf, [(h, h) for h in half])
    padded = padded[tuple(slice(at, at + 2 * h + 1) for at, h in zip(whole, half, strict=True))]
    if np.abs(whole - center).max() > 0.02:
        padded = np.clip(shifted(padded, whole - center, order=3), 0, None)
    largest = int(half[1:].max())
    padded = np.pad(padded, [(0, 0), *((largest - h, largest - h) for h in half[1:])])
    most = [(n - 1) // 2 if axis else n - 1 for axis, n in enumerate(sides)]
    kept = [min(n // 2, m) for n, m in zip(padded.shape, most, strict=True)]
    part = tuple(slice(n // 2 - k, n // 2 + k + 1) for n, k in zip(padded.shape, kept, strict=True))
    if padded[part].sum() < 0.9 * padded.sum():
        raise ObservationError(
            "the PSF is wider than the image, which has {} planes of {} x {} pixels: crop it, or give a"
            " narrower one".format(*sides)
        )
    return np.asarray(padded[part] / padded[part].sum())


class VolumeBlurOperator(Operator):
    """The valid part of a convolution of volumes; beyond the last planes the scene is like them.

    Parameters
    ----------
    layout : ChannelLayout
        Of the data.
    sides : (height, width)
        Of the data.
    transfers : (P, H, W) complex tensor
        Transfer functions of the planes of the PSF, an odd number, on the grid of the scene.
    margin : int
        Of the scene, beyond the data.
    """

    def __init__(
        self, layout: ChannelLayout, sides: tuple[int, int], transfers: torch.Tensor, margin: int
    ) -> None:
        height, width = sides
        self._depths, half = layout.depths, len(transfers) // 2
        self.scene_shape = (layout.num_planes, height + 2 * margin, width + 2 * margin)
        self.valid_region = (slice(margin, margin + height), slice(margin, margin + width))
        self._transfers = transfers
        shifts = torch.arange(-half, half + 1)[:, None]
        self._sources = (torch.arange(self._depths) - shifts).clamp(0, self._depths - 1)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        waves = torch.fft.rfft2(x).unflatten(0, (-1, self._depths))
        seen = sum(
            transfer * waves.index_select(1, sources)
            for transfer, sources in zip(self._transfers, self._sources, strict=True)
        )
        assert isinstance(seen, torch.Tensor)
        y: torch.Tensor = torch.fft.irfft2(seen, s=x.shape[-2:]).flatten(0, 1)
        return y[:, self.valid_region[0], self.valid_region[1]][None]

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        padded = y.new_zeros(self.scene_shape)
        padded[:, self.valid_region[0], self.valid_region[1]] = y[0]
        waves = torch.fft.rfft2(padded).unflatten(0, (-1, self._depths))
        spread = torch.zeros_like(waves)
        for transfer, sources in zip(self._transfers, self._sources, strict=True):
            spread.index_add_(1, sources, transfer.conj() * waves)
        x: torch.Tensor = torch.fft.irfft2(spread, s=padded.shape[-2:]).flatten(0, 1)
        return x
