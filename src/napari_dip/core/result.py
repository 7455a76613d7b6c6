"""Results: what came out of a run, frozen so that it can cross threads and processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_dip.core import arrays, interop
from napari_dip.core.assessment import Assessment
from napari_dip.core.axes import BoolArray, FloatArray
from napari_dip.core.errors import SettingsError
from napari_dip.core.header import Header
from napari_dip.core.observation import Observation
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.provenance import Provenance
from napari_dip.core.strength import blend
from napari_dip.core.summary import summarize

if TYPE_CHECKING:
    import xarray
    from astropy.nddata import CCDData


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """The course of one fit, with one entry for each step.

    Attributes
    ----------
    loss : (steps,) float32
        Mean negative log-likelihood of the fitted data, plus the regularization.
    validation_loss : (steps,) float32
        Stopping score of the running average.
    selected_step : int
        The step whose image was taken, counted from 1; 0 where the block had no fit.
    stop_reason : str
        Why the fit stopped, as a sentence.
    """

    loss: FloatArray
    validation_loss: FloatArray
    selected_step: int
    stop_reason: str

    @property
    def last(self) -> tuple[int, float, float]:
        """The last step, its loss and its score; NaN where there was no fit."""
        if not len(self.loss):
            return 0, float("nan"), float("nan")
        return len(self.loss), float(self.loss[-1]), float(self.validation_loss[-1])

    def __repr__(self) -> str:
        return f"History({len(self.loss)} steps, selected_step={self.selected_step}: {self.stop_reason})"


PATCHES_ONLY = "patches only, no network"  # the stop reason of a block that had no fit


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A restored image, and how it was made.

    ``np.asarray(result)`` is its image.

    Attributes
    ----------
    image : float32 array with the axes of the input, without T where times were combined
        The restored image, in data units; NaN in blocks that were not reached.
    inpainted : bool array of the same shape
        Pixels that no datum constrains: the prior inferred them.
    residual : float32 array of the shape of the data
        Data minus prediction, y - A x, in data units; NaN where nothing is observed. The data are the
        input, or the mean of its frames where `observation` is that.
    noise_std : float32 array of the shape of the data
        Standard deviation of the noise in each datum, given the restored image.
    uncertainty : float32 array of the shape of the image, or None
        Standard deviation of the error of the image, in data units; None for a single fit.
    axes, residual_axes : str
        Axes of the image, and of the residual.
    history : tuple of History
        One for each fit.
    provenance : Provenance
        The recipe, the assessment, the digest of the input, noise level, device, versions ...
    header : Header
        What the file of the input says, with coordinates on the grid of the image.
    scale_factor : (float, float)
        Pixels of the image per pixel of the input, along Y and X; the grids share their outer edges.
    observation : Observation or None
        The data that were fitted.
    maps : ParameterMaps or None
        Maps of the parameters of the signal equation, where the recipe has one.
    """

    image: FloatArray
    inpainted: BoolArray
    residual: FloatArray
    noise_std: FloatArray
    uncertainty: FloatArray | None
    axes: str
    residual_axes: str
    history: tuple[History, ...]
    provenance: Provenance
    header: Header = field(default_factory=Header)
    scale_factor: tuple[float, float] = (1.0, 1.0)
    observation: Observation | None = None
    maps: ParameterMaps | None = None

    @property
    def normalized_residual(self) -> FloatArray:
        """The residual over the noise: standard normal where the fit is good and the noise Gaussian."""
        ratio: FloatArray = arrays.empty(self.residual.shape, np.float32)
        return np.divide(self.residual, self.noise_std, out=ratio)

    @property
    def summary(self) -> str:
        """The assessment, and in a second line what the run did and found."""
        return f"{self.assessment}\n{summarize(self)}"

    @property
    def assessment(self) -> Assessment:
        """Whether the result can be used: good, check or failed, and why.

        Examples
        --------
        >>> import napari_dip as dip
        >>> image = np.random.default_rng(0).normal(100, 5, (48, 48))
        >>> dip.denoise(image, sigma=1, quality="fast", full_output=True).assessment.level
        'check'
        """
        return self.provenance.assessment

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a written file remembers: the provenance and the summary, as values that JSON has."""
        return {**self.provenance.to_dict(), "summary": summarize(self)}

    @property
    def motion(self) -> FloatArray | None:
        """Rotation and shift along Y and X of the scene in each exposure, (T, 3), or (slices, T, 3);
        None if the recipe has no motion. [degree, pixel]
        """
        motion = np.array(self.provenance.operator.motion, np.float32)
        return None if not motion.size else motion[0] if len(motion) == 1 else motion

    @property
    def stop_reason(self) -> str:
        """Why the run stopped, as a sentence; with several fits, why the last of them did."""
        reasons = [history.stop_reason for history in self.history]
        return reasons[0] if len(reasons) == 1 else f"{len(reasons)} fits; the last: {reasons[-1]}"

    @property
    def steps(self) -> int:
        """Number of steps of all fits."""
        return sum(len(history.loss) for history in self.history)

    def at_strength(self, strength: float) -> Result:
        """Return the result with an image between the data and the restoration.

        Parameters
        ----------
        strength : float
            0 gives the data, bit for bit, and 1 the restoration. Pixels without data stay as they are.

        Returns
        -------
        Result
            Its residual and uncertainty are those of the new image.

        Raises
        ------
        SettingsError
            If the strength is out of bounds, the operator is not the identity, or the image has another
            strength than 1 already.

        Examples
        --------
        >>> import napari_dip as dip
        >>> image = np.random.default_rng(0).normal(100, 5, (48, 48)).astype("float32")
        >>> result = dip.denoise(image, quality="instant", full_output=True)
        >>> softer = result.at_strength(0.8)
        >>> bool(softer.residual.std() < result.residual.std())
        True
        """
        before = self.provenance.recipe.get("strength", 1.0)
        if before != 1 or self.observation is None:
            raise SettingsError(f"the image has a strength of {before:g}: start from the restoration")
        return blend(self, self.observation, strength)

    def magnitude(self) -> Result:
        """Return the magnitude of a complex image, whose channels are its real and imaginary parts."""
        channel = self.axes.index("C")
        return replace(
            self,
            image=np.hypot(*np.moveaxis(self.image, channel, 0)),
            inpainted=np.asarray(self.inpainted.any(axis=channel)),
            uncertainty=None,
            axes=self.axes.replace("C", ""),
            header=replace(self.header, channels=()),
        )

    def to_ccddata(self) -> CCDData:
        """Return the image as CCDData, with unit, WCS and header of the input.

        Its mask marks the inpainted pixels; it has a StdDevUncertainty if the result has an uncertainty.

        Raises
        ------
        ObservationError
            If the image is not two-dimensional.

        References
        ----------
        .. [1] https://docs.astropy.org/en/stable/nddata/ccddata.html
        """
        return interop.to_ccddata(self)

    def to_xarray(self) -> xarray.Dataset:
        """Return image, inpainted, residual, noise_std and, if any, uncertainty as a Dataset.

        Dimensions are t, c, z, y, x; where the image has another grid than the data, those of the data
        are called t_data, y_data and so on. Coordinates are in the units of the pixel size.
        """
        return interop.to_dataset(self)

    def __array__(
        self,
        dtype: DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - NumPy's protocol
    ) -> NDArray[Any]:
        return np.array(self.image, dtype, copy=copy)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.image.shape))
        uncertainty = "" if self.uncertainty is None else ", with uncertainty"
        return f"Result({shape}, axes={self.axes!r}, {self.steps} steps{uncertainty})"


def full_nan(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array of NaN."""
    return arrays.full(shape, np.nan, np.float32)
