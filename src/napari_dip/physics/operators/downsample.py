"""Downsampling: larger pixels observe a finer scene; its restoration is super-resolution."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from napari_dip.core.fit_data import FitData
from napari_dip.core.observation import Observation
from napari_dip.core.torch_import import torch
from napari_dip.physics.operators._resampling import ConserveFlux, Kernel, flux_gain, resampling_matrix
from napari_dip.physics.operators.base import Operator, OperatorSettings

Factor = Annotated[float, Field(ge=1, le=8)]


class Downsample(OperatorSettings):
    """Each pixel of the data shows several of the scene: its restoration is super-resolution.

    The grids share their outer edges. If values are what each pixel collects (adu, electron, Jy ...),
    flux is conserved: the pixels of the scene share it. If they are a surface brightness (MJy/sr, no
    unit ...), brightness is conserved.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (6).
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("scale_factor",)
    kind: Literal["downsample"] = "downsample"
    scale_factor: Factor | tuple[Factor, Factor] = 4.0
    """Pixels of the result per pixel of the image: one number, or two for Y and X."""
    kernel: Kernel = "lanczos3"
    """How a pixel of the image averages the scene: by a Lanczos filter, as most software downsamples, or
    over its area, as detectors do."""
    conserve_flux: ConserveFlux = "auto"
    """Whether values are what each pixel collects (yes), or a surface brightness (no); auto: by the
    unit."""

    @property
    def _factors(self) -> tuple[float, float]:
        """The scale factors along Y and X."""
        factor = self.scale_factor
        return factor if isinstance(factor, tuple) else (factor, factor)

    @property
    def supports_tiling(self) -> bool:
        return all(float(factor).is_integer() for factor in self._factors)

    def build(self, data: FitData) -> Operator:
        _, channels, height, width = data.y.shape
        # Sizes are whole numbers: the factors are those of the sizes.
        fine = [
            round(side * factor) for side, factor in zip((height, width), self._factors, strict=True)
        ]
        zoom = (fine[0] / height, fine[1] / width)
        gain, note = flux_gain(self.conserve_flux, data.header, zoom)
        rows = gain * resampling_matrix(height, fine[0], zoom[0], self.kernel)
        columns = resampling_matrix(width, fine[1], zoom[1], self.kernel)
        operator = SeparableOperator((channels, *fine), rows, columns)
        operator.scale_factor, operator.dc_gain, operator.note = zoom, gain, note
        return operator

    def make_example(self, seed: int) -> Observation:
        """Return rings that are too fine for the pixels at one end."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:128, :160]
        rings = 100 + 50 * np.cos(np.hypot(y - 40, x - 30) ** 1.5 / 40)
        rows, columns = (resampling_matrix(n // 4, n, 4, "lanczos3") for n in rings.shape)
        return Observation.from_array(rows @ rings @ columns.T + rng.normal(0, 0.5, (32, 40)), axes="YX")


class SeparableOperator(Operator):
    """A x = R x C^T, channel by channel."""

    def __init__(self, scene_shape: tuple[int, int, int], rows: np.ndarray, columns: np.ndarray) -> None:
        self.scene_shape = scene_shape
        self._rows = torch.from_numpy(rows.astype(np.float32))
        self._columns = torch.from_numpy(columns.astype(np.float32))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return (self._rows @ x @ self._columns.T)[None]

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self._rows.T @ y[0] @ self._columns
