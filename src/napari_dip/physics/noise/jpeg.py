"""The errors of JPEG compression: coefficients of blocks that were rounded."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.fit_data import FitData
from napari_dip.core.noise_properties import NoiseProperties
from napari_dip.physics.jpeg import JpegCoding, find_coding, plane_variances
from napari_dip.physics.noise._gaussian import GaussianLikelihood
from napari_dip.physics.noise._likelihood import Likelihood
from napari_dip.physics.noise.base import NoiseSettings


class Jpeg(NoiseSettings):
    """The quantization of a JPEG image, as it was decoded: whole numbers from 0 to 255.

    How finely the luminance was quantized is found from the image. The strength of the errors, of which
    only patches make use, is estimated from the distribution of the coefficients.
    """

    supports_tiling: ClassVar[bool] = False  # the steps are found from all blocks
    kind: Literal["jpeg"] = "jpeg"
    stripes: Literal["off"] = "off"
    """The coefficients of a block would no longer be those of the file."""

    def likelihood(self, data: FitData, reference: Likelihood | None = None) -> Likelihood:
        return self._base_likelihood(data, reference)

    def _base_likelihood(self, data: FitData, reference: Likelihood | None) -> Likelihood:
        coding = find_coding(data.y[0])
        sigma = np.sqrt(plane_variances(coding.errors)).astype(np.float32)[None, :, None, None]
        properties = NoiseProperties(sigma, f"JPEG of about quality {coding.quality}", kind="structured")
        return JpegLikelihood(properties, np.broadcast_to(sigma, data.y.shape).copy(), coding)


class JpegLikelihood(GaussianLikelihood):
    """Gaussian errors of known strength, and the intervals in which the coefficients are."""

    def __init__(self, properties: NoiseProperties, std: FloatArray, coding: JpegCoding) -> None:
        super().__init__(properties, std)
        self.coding = coding
