"""Frames: several exposures of one scene, drifting. Restoring it combines them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_dip.core.assessment import Finding
from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._psf import Beta, Fwhm, Shape, psf_kernels
from napari_dip.physics.operators._resampling import ConserveFlux, Kernel, flux_gain, resampling_matrix
from napari_dip.physics.operators.base import Operator, OperatorSettings
from napari_dip.physics.operators.blur import convolve, transfer_function
from napari_dip.physics.registration import NUM_PARTS, edge_map, register

LANCZOS_REACH_PX = 3  # of a Lanczos filter, beyond the edge of a frame


class MultiExposure(OperatorSettings):
    """All frames along T show one scene, shifted against each other: one image from many exposures.

    Frame t is scale_t * (scene, convolved with its PSF, shifted and averaged by its pixels) +
    background_t, with its own mask and noise. The result has the grid, the scale and the background of
    the first frame; it is computed on the union of all frames, so that what drifted into view helps,
    too.
    """

    kind: Literal["multi-exposure"] = "multi-exposure"
    auxiliary: ClassVar[tuple[str, ...]] = ("psf",)
    combines_time: ClassVar[bool] = True
    align: bool = True
    """Measure the shifts between the frames by phase correlation; off: the frames are aligned
    already."""
    shifts: tuple[tuple[float, float], ...] | None = None
    """Known shifts (y, x) that register each frame to the first: one for each frame, the first (0, 0);
    automatic: measured, or 0 if `align` is off. [pixel]"""
    match_background: bool = True
    """Match the background of each frame to that of the first."""
    match_scale: bool = False
    """Match the flux scale of each frame to that of the first: exposures of different length or
    transparency."""
    scale_factor: Annotated[float, Field(ge=1, le=8)] = 1.0
    """Pixels of the result per pixel of a frame, along Y and X."""
    kernel: Kernel = "lanczos3"
    """How a pixel of a frame averages the scene: interpolated by a Lanczos filter, or over its area (for
    a finer grid of undersampled frames)."""
    conserve_flux: ConserveFlux = "auto"
    """Whether values are what each pixel collects (yes), or a surface brightness (no); auto: by the
    unit."""
    psf: Shape = "auto"
    """Shape of the point spread function to remove; auto: the given image of it, one for all or one for
    each frame, else none."""
    fwhm: Fwhm = 3.0
    """Full width at half maximum of a named shape. [pixel of the result]"""
    beta: Beta = 2.5
    """Exponent of a Moffat profile: the smaller, the wider its wings."""

    def build(self, data: FitData) -> Operator:
        y = data.y
        if len(y) == 1:
            raise ObservationError(
                "there is only one exposure: give several files, or an image with a time axis (T)"
            )
        shifts, unsure = self._shifts(y)
        scales, backgrounds = self._match(y, shifts)
        height, width = y.shape[-2:]
        fine = [round(side * self.scale_factor) for side in (height, width)]
        zoom = (fine[0] / height, fine[1] / width)
        gain, flux = flux_gain(self.conserve_flux, data.header, zoom)
        psfs = psf_kernels(data, self.psf, self.fwhm, self.beta, default="none")
        reach = max(len(psf) // 2 for psf in psfs)
        sides, windows, matrices = [], [], []
        for side, finer, z, along in zip((height, width), fine, zoom, shifts.T, strict=True):
            before = int(np.ceil(z * (LANCZOS_REACH_PX + max(0, -along.min())))) + reach
            after = int(np.ceil(z * (LANCZOS_REACH_PX + max(0, along.max())))) + reach
            sides.append(before + finer + after)
            windows.append(slice(before, before + finer))
            starts = before + z * along
            seen = [resampling_matrix(side, sides[-1], z, self.kernel, start=s) for s in starts]
            matrices.append(np.stack(seen))
        operator = MultiExposureOperator(
            (y.shape[1], sides[0], sides[1]),
            gain * scales[:, None, None] * matrices[0],
            matrices[1],
            psfs if reach else [],
        )
        operator.valid_region, operator.scale_factor, operator.dc_gain = (
            (windows[0], windows[1]),
            zoom,
            gain,
        )
        operator.background = torch.from_numpy(backgrounds.astype(np.float32))
        found = ", ".join(f"({x:+.2f}, {y:+.2f})" for y, x in shifts)
        operator.note = f"shifts (x, y) in pixels: {found}"
        if zoom != (1.0, 1.0):
            operator.note += f"; {flux}"
        if unsure:
            frames = ", ".join(str(number + 1) for number in unsure)
            reason = f"the shift of frame {frames} against the first is uncertain"
            operator.findings = (Finding("check", reason),)
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return three noisy frames of some stars, shifted by fractions of a pixel."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:40, :48].astype(float)
        rows, columns = rng.uniform(4, 36, 15), rng.uniform(4, 44, 15)
        frames = np.zeros((3, 40, 48))
        for frame, (dy, dx) in zip(frames, ((0, 0), (1.5, -0.5), (-0.75, 2.25)), strict=True):
            for row, column in zip(rows, columns, strict=True):
                frame += 200 * np.exp(-((y - row + dy) ** 2 + (x - column + dx) ** 2) / 4)
        return Observation.from_array(frames + rng.normal(50, 4, frames.shape), axes="TYX")

    def _shifts(self, y: FloatArray) -> tuple[NDArray[np.float64], list[int]]:
        """Where the origin of each frame lies in the first one, (T, 2) in pixels along Y and X; and
        frames whose shift is uncertain.
        """
        unsure: list[int] = []
        if self.shifts is not None:
            if len(self.shifts) != len(y):
                raise SettingsError(
                    f"operator.shifts has {len(self.shifts)} shifts for {len(y)} frames: give one for"
                    " each, the first (0, 0)"
                )
            if any(self.shifts[0]):
                raise SettingsError(
                    f"operator.shifts starts with {self.shifts[0]}: the others are registered to the"
                    " first frame, so give it (0, 0)"
                )
            shifts = np.array(self.shifts, float)
        elif not self.align:
            shifts = np.zeros((len(y), 2))
        else:
            strengths = [edge_map(frame) for frame in y]
            found = [register(strengths[0], one, tolerance=0) for one in strengths[1:]]
            shifts = np.array([np.zeros(2), *(registration.shift for registration in found)])
            unsure = [n for n, each in enumerate(found, start=1) if each.num_agreeing < NUM_PARTS // 2]
        for number, shift in enumerate(shifts):
            if np.any(np.abs(shift) > 0.5 * np.array(y.shape[-2:])):
                raise ObservationError(
                    f"frame {number + 1} is shifted by {shift[1]:.0f} x {shift[0]:.0f} pixels against"
                    " the first: they overlap by less than half; leave it out, or give operator.shifts"
                )
        return shifts, unsure

    def _match(
        self, y: FloatArray, shifts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The scale (T,) and background (T, C, 1, 1) of each frame; 1 and 0 for the first."""
        scales = np.ones(len(y))
        levels = plane_medians(y)
        if self.match_scale:
            scales = np.array(
                [_relative_scale(frame, y[0], s) for frame, s in zip(y, shifts, strict=True)]
            )
        if not self.match_background:
            return scales, np.zeros((*levels.shape, 1, 1))
        offsets = levels - scales[:, None] * levels[0]
        return scales, np.nan_to_num(offsets)[..., None, None]  # 0 for a missing channel


class MultiExposureOperator(Operator):
    """A x = R_t (K_t * x) C_t^T for each frame t."""

    def __init__(
        self,
        scene_shape: tuple[int, int, int],
        rows: NDArray[np.float64],
        columns: NDArray[np.float64],
        psfs: list[NDArray[np.float64]],
    ) -> None:
        self.scene_shape = scene_shape
        self._rows = torch.from_numpy(rows.astype(np.float32))[:, None]
        self._columns = torch.from_numpy(columns.astype(np.float32))[:, None]
        self._transfer = None
        if psfs:
            self._transfer = torch.stack([transfer_function(psf, scene_shape[1:]) for psf in psfs])[
                :, None
            ]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        seen = x[None] if self._transfer is None else convolve(x[None], self._transfer)
        return self._rows @ seen @ self._columns.mT

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        seen = self._rows.mT @ y @ self._columns
        if self._transfer is not None:
            seen = convolve(seen, self._transfer.conj())
        return seen.sum(dim=0)


def _relative_scale(frame: FloatArray, first: FloatArray, shift: NDArray[np.float64]) -> float:
    """The brightness of `frame` over that of `first`, both (C, Y, X), in their bright pixels."""
    from scipy.ndimage import gaussian_filter
    from scipy.ndimage import shift as shifted

    pair = []
    for image, move in ((first, np.zeros(2)), (frame, shift)):
        known = np.nan_to_num(image - plane_medians(image)[:, None, None]).mean(axis=0)
        pair.append(gaussian_filter(shifted(known, move, order=1), 2))
    a, b = pair
    bright = (a > max(0, np.quantile(a, 0.98))) & (b > max(0, np.quantile(b, 0.95)))
    return float(np.median(b[bright] / a[bright])) if bright.sum() > 20 else 1.0


def plane_medians(y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of each plane (..., Y, X); NaN where nothing of it is observed."""
    planes = y.reshape(-1, *y.shape[-2:])
    levels = [np.median(p[np.isfinite(p)]) if np.isfinite(p).any() else np.nan for p in planes]
    return np.array(levels, float).reshape(y.shape[:-2])
