"""Blur: the scene is convolved with a point spread function; its restoration is deconvolution."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from napari_dip.core.errors import ObservationError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._psf import Beta, Fwhm, psf_kernels, psf_model
from napari_dip.physics.operators.base import Operator, OperatorSettings


class Blur(OperatorSettings):
    """Convolution with a point spread function: its restoration is deconvolution.

    The scene extends beyond the image by half the width of the PSF, because flux from there falls into
    the image; the result shows the image. So nothing wraps around, and no edge is invented.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("fwhm",)
    kind: Literal["blur"] = "blur"
    auxiliary: ClassVar[tuple[str, ...]] = ("psf",)
    psf: Literal["auto", "gaussian", "moffat", "airy"] = "auto"
    """Shape of the point spread function; auto: the given image of it, else a Gaussian."""
    fwhm: Fwhm = 3.0
    """Full width at half maximum of a named shape. [pixel]"""
    beta: Beta = 2.5
    """Exponent of a Moffat profile: the smaller, the wider its wings."""

    def build(self, data: FitData) -> Operator:
        _, channels, height, width = data.y.shape
        psf, *others = psf_kernels(data, self.psf, self.fwhm, self.beta, default="gaussian")
        if others:
            raise ObservationError(
                f"there are {1 + len(others)} PSFs for frames that are restored jointly: set"
                " stack.joint_axes to none, or give one PSF for all"
            )
        operator = BlurOperator((channels, height, width), psf)
        if self.psf == "auto" and "psf" in data.auxiliary:
            operator.note = "PSF as given"
        else:
            assumed = ", because none was given" if self.psf == "auto" else ""
            shape = "gaussian" if self.psf == "auto" else self.psf
            operator.note = f"PSF: {shape}, {self.fwhm:g} pixels wide{assumed}"
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return stars and a disk, blurred by a Gaussian of 3 pixels, under noise."""
        rng = np.random.default_rng(seed)
        scene = np.zeros((48, 56))
        y, x = np.mgrid[:48, :56]
        scene[np.hypot(y - 30, x - 38) < 8] = 20
        scene[rng.integers(4, 44, 12), rng.integers(4, 52, 12)] += 800
        blurred = np.zeros_like(scene)
        psf = psf_model("gaussian", 3.0)
        half = len(psf) // 2
        for (row, column), weight in np.ndenumerate(psf):
            blurred += weight * np.roll(scene, (row - half, column - half), (0, 1))
        return Observation.from_array(blurred + rng.normal(100, 2, scene.shape), axes="YX")


class BlurOperator(Operator):
    """The valid part of a convolution, by FFT."""

    def __init__(self, image_shape: tuple[int, int, int], psf: NDArray[np.float64]) -> None:
        channels, height, width = image_shape
        margin = len(psf) // 2
        self._size = (height + 2 * margin, width + 2 * margin)
        self.scene_shape = (channels, *self._size)
        self.valid_region = (slice(margin, margin + height), slice(margin, margin + width))
        self._transfer = transfer_function(psf, self._size)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return convolve(x, self._transfer)[..., self.valid_region[0], self.valid_region[1]][None]

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        padded = y.new_zeros(self.scene_shape)
        padded[:, self.valid_region[0], self.valid_region[1]] = y[0]
        return convolve(padded, self._transfer.conj())


def transfer_function(psf: NDArray[np.float64], size: tuple[int, int]) -> torch.Tensor:
    """Return the Fourier transform of `psf`, with its center at the origin, on a grid of `size`."""
    half = len(psf) // 2
    padded = np.zeros(size)
    padded[: len(psf), : len(psf)] = psf
    return torch.from_numpy(np.fft.rfft2(np.roll(padded, (-half, -half), (0, 1))).astype(np.complex64))


def convolve(x: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
    """Return the circular convolution of `x` (..., H, W), by a transfer function of its size."""
    spread: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])
    return spread
