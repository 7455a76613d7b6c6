"""Blur: the scene is convolved with a point spread function; its restoration is deconvolution."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._psf import Beta, Fwhm, psf_kernels, psf_model
from napari_dip.physics.operators._volume_blur import VolumeBlurOperator, center_volume
from napari_dip.physics.operators.base import NoiseStd, Operator, OperatorSettings

TARGET_FWHM_PX = (2.0, 1.7, 1.4, 1.1)  # of which the first is taken that is narrower than the PSF
MAX_GAIN = 1.05  # of a frequency, where the PSF is wider than the detail of the result
MIN_GRID_PX = 64  # on which frequencies are compared
MIN_POWER = 1e-4  # of the Gaussian of the result, at which division by it ends


class Blur(OperatorSettings):
    """Convolution with a point spread function: its restoration is deconvolution.

    The scene extends beyond the image by half the width of the PSF, because flux from there falls into
    the image; the result shows the image. So nothing wraps around, and no edge is invented.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("fwhm", "target_fwhm")
    kind: Literal["blur"] = "blur"
    auxiliary: ClassVar[tuple[str, ...]] = ("psf",)
    psf: Literal["auto", "gaussian", "moffat", "airy"] = "auto"
    """Shape of the point spread function; auto: the given image of it, else a Gaussian."""
    fwhm: Fwhm = 3.0
    """Full width at half maximum of a named shape. [pixel]"""
    beta: Beta = 2.5
    """Exponent of a Moffat profile: the smaller, the wider its wings."""
    target_fwhm: Annotated[float, Field(ge=0, le=50)] | None = None
    """Full width at half maximum of the smallest detail that the result shows, less than that of the
    PSF; automatic: 2 pixels, or as much less as the PSF demands; 0 for no limit. [pixel]"""
    point_sources: bool = True
    """Find bright points with the PSF, such as stars and beads, and show them with the width of the
    smallest detail: without rings. Not without a limit."""

    def build(self, data: FitData) -> Operator:
        _, channels, height, width = data.y.shape
        if self.psf == "auto" and "psf" in data.auxiliary and data.auxiliary["psf"].shape[1] > 1:
            return self._build_volume(data)
        psf, *others = psf_kernels(data, self.psf, self.fwhm, self.beta, default="gaussian")
        if others:
            raise ObservationError(
                f"there are {1 + len(others)} PSFs for frames that are restored jointly: set"
                " stack.joint_axes to none, or give one PSF for all"
            )
        target = self._resolution(psf[None])
        operator = BlurOperator(
            (channels, height, width), psf, target_fwhm=target, point_sources=self.point_sources
        )
        if self.psf == "auto" and "psf" in data.auxiliary:
            operator.note = "PSF as given"
        else:
            assumed = ", because none was given" if self.psf == "auto" else ""
            shape = "gaussian" if self.psf == "auto" else self.psf
            operator.note = f"PSF: {shape}, {self.fwhm:g} pixels wide{assumed}"
        if target:
            operator.note += f"; detail of the result: {target:.2g} pixels"
        return operator

    def _build_volume(self, data: FitData) -> Operator:
        """The operator of a PSF in three dimensions."""
        layout, images = data.channel_layout, data.auxiliary["psf"]
        if layout.depths == 1 or len(images) > 1:
            raise ObservationError(
                f"the PSF has {images.shape[1]} planes: give its plane in focus, or deconvolve a volume"
                " whose depths are restored jointly (deconvolve-volume)"
            )
        height, width = data.y.shape[-2:]
        psf = center_volume(images[0].astype(float), (layout.depths, height, width))
        target, margin = self._resolution(psf), psf.shape[-1] // 2
        size = (height + 2 * margin, width + 2 * margin)
        transfers = torch.stack([_relative_transfer(plane, target, size) for plane in psf])
        operator = VolumeBlurOperator(layout, (height, width), transfers, margin)
        operator.resolution_fwhm = target
        operator.note = f"PSF of {len(psf)} planes as given"
        if target:
            operator.note += f"; detail of the result: {target:.2g} pixels"
        return operator

    def _resolution(self, psf: NDArray[np.float64]) -> float:
        """The width of the smallest detail of the result, for a PSF (Z, Y, X); 0 if it is a point."""
        sides = 2 * (max(2 * psf.shape[-1] + 1, MIN_GRID_PX),)

        def is_narrower(fwhm: float) -> bool:
            transfers = torch.stack([_relative_transfer(plane, fwhm, sides) for plane in psf])
            return fwhm == 0 or float(torch.fft.fft(transfers, dim=0).abs().max()) <= MAX_GAIN

        if self.target_fwhm is not None:
            if not is_narrower(self.target_fwhm):
                raise SettingsError(
                    f"operator.target_fwhm is {self.target_fwhm:g} pixels, and the PSF is not wider than"
                    " that everywhere: choose less",
                    setting="operator.target_fwhm",
                )
            return self.target_fwhm
        return next((fwhm for fwhm in TARGET_FWHM_PX if is_narrower(fwhm)), 0.0)

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
    """The valid part of a convolution, by FFT.

    The scene is smooth already: it is convolved with a Gaussian of the width `target_fwhm`, and so is
    each point source that is taken out of it.

    References
    ----------
    .. [1] Magain, Courbin, Sohy, "Deconvolution with correct sampling", Astrophys. J. 494 (1998) 472,
           doi:10.1086/305187.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        psf: NDArray[np.float64],
        *,
        target_fwhm: float = 0.0,
        point_sources: bool = False,
    ) -> None:
        channels, height, width = image_shape
        self._margin = margin = len(psf) // 2
        self._size = (height + 2 * margin, width + 2 * margin)
        self.scene_shape = (channels, *self._size)
        self.valid_region = (slice(margin, margin + height), slice(margin, margin + width))
        self._psf, self.resolution_fwhm = psf, target_fwhm
        self._has_point_sources = point_sources and target_fwhm > 0
        self._transfer = _relative_transfer(psf, target_fwhm, self._size)

    def separate_sources(self, data: FitData, noise_std: NoiseStd) -> None:
        """Take bright points that are as wide as the PSF out of the scene."""
        if not self._has_point_sources:
            return
        # These bring a second of scipy.
        from napari_dip.physics._point_profiles import GaussianProfile, SampledProfile
        from napari_dip.physics.point_sources import find_point_sources

        profile = SampledProfile(self._psf)
        planes = np.where(data.observed[0], data.y[0], np.nan).astype(float)
        std = noise_std(torch.from_numpy(np.nan_to_num(data.y))).expand(data.y.shape)
        found = find_point_sources(planes, std[0].double().numpy(), profile)
        if not len(found):
            return
        sharp = GaussianProfile(self.resolution_fwhm)
        origin = self._margin, self._margin
        image = found.image(profile, (planes.shape[1], planes.shape[2]))
        self.background = torch.from_numpy(image[None].astype(np.float32))
        foreground = found.image(sharp, self._size, origin)
        variance = found.variance(sharp, self._size, origin)
        self.foreground = torch.from_numpy(foreground.astype(np.float32))
        self.foreground_variance = torch.from_numpy(variance.astype(np.float32))
        self.note += f"; {len(found)} point sources"

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


def _relative_transfer(psf: NDArray[np.float64], fwhm: float, size: tuple[int, int]) -> torch.Tensor:
    """The transfer function of a PSF, from a scene that a Gaussian of width `fwhm` smoothed already."""
    transfer = transfer_function(psf, size)
    if not fwhm:
        return transfer
    smooth = transfer_function(psf_model("gaussian", fwhm), size).real
    return transfer * (1 + MIN_POWER) * smooth / (smooth**2 + MIN_POWER)


def convolve(x: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
    """Return the circular convolution of `x` (..., H, W), by a transfer function of its size."""
    spread: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * transfer, s=x.shape[-2:])
    return spread
