"""Denoising."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import ArrayLike, DTypeLike

from napari_dip.physics.noise import NoiseSettings
from napari_dip.run.api._options import Callback, NoiseName, Options, run_task
from napari_dip.run.recipe import Quality, Recipe


def denoise(
    image: Any,
    sigma: ArrayLike | None = None,
    *,
    mask: Any = None,
    noise: NoiseName | NoiseSettings = "gaussian",
    gain: float | None = None,
    read_noise: float | None = None,
    axes: str | None = None,
    channel_axis: int | None = None,
    quality: Quality = "balanced",
    seed: int = 0,
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    dtype: DTypeLike | None = None,
    callback: Callback | None = None,
    full_output: bool = False,
) -> Any:
    """Remove noise from an image.

    Parameters
    ----------
    image : array-like or path
        An ndarray, masked array, Quantity, CCDData or NDData, xarray DataArray, torch tensor, dask or
        zarr array, a layer of napari, an `Observation`, or the path of a file. Masks, uncertainties,
        units and coordinates that it has are used. Two-dimensional arrays need no `axes`.
    sigma : float or array of float, optional
        Standard deviation of the noise, in the units of the image. Default: the uncertainty of the
        image, or an estimate from it.
    mask : array of bool, optional
        True where data are missing: these pixels are inpainted. Pixels that are not finite are missing,
        too.
    noise : {"gaussian", "poisson", "poisson-gaussian", "rician"} or NoiseSettings
        Model of the noise; Rician is that of magnitudes of complex data.
    gain : float, optional
        Electrons per data unit, for photon noise. Default: from the FITS header.
    read_noise : float, optional
        Standard deviation of the read noise, for ``"poisson-gaussian"``. [electron] Default: from the
        FITS header, else 0.
    axes : str, optional
        One letter for each axis, from T (time), C (channel), Z (depth), Y, X: ``"ZYX"``, ``"YXC"``.
    channel_axis : int, optional
        Which axis of a three-dimensional array holds channels.
    quality : {"instant", "fast", "balanced", "best"}
        Trade-off between quality and time; ``"instant"`` uses similar patches and no network, ``"best"``
        averages four fits and has an uncertainty.
    seed : int
        Seed of all random numbers: the same seed repeats the result.
    device : {"auto", "cuda", "mps", "cpu"}
        Where to compute.
    dtype : data type, optional
        Of the returned image; integers are rounded and clipped. Default: float32.
    callback : callable, optional
        Called with a `Progress` several times a second; the run stops, and keeps the best image so far,
        when it returns True.
    full_output : bool
        Return a `Result`, with residual, uncertainty, summary and provenance.

    Returns
    -------
    image
        Of the type of the input: an ndarray for an ndarray, dask or zarr array; a masked array, CCDData
        or NDData whose mask marks the inpainted pixels, and whose StdDevUncertainty is that of the
        result, if it has one; a DataArray with its coordinates; a tensor; a tuple (data, attributes,
        "image") for a layer. A `Result` for a path or an `Observation`.

    Raises
    ------
    ObservationError
        If the axes are ambiguous, parts do not match, or there is nothing to restore.
    SettingsError
        If a number is out of bounds, or is needed and not given.
    ReadError
        If the file cannot be read.

    References
    ----------
    .. [1] Ulyanov, Vedaldi, Lempitsky, "Deep Image Prior", IJCV 128 (2020) 1867,
           doi:10.1007/s11263-020-01303-4

    Examples
    --------
    >>> import napari_dip as dip
    >>> rng = np.random.default_rng(0)
    >>> noisy = 100 + rng.normal(0, 5, (48, 64))
    >>> clean = dip.denoise(noisy, quality="fast")
    >>> clean.shape, clean.dtype, bool(clean.std() < noisy.std())
    ((48, 64), dtype('float32'), True)
    """
    options: Options = {
        "mask": mask,
        "noise": noise,
        "gain": gain,
        "read_noise": read_noise,
        "axes": axes,
        "channel_axis": channel_axis,
        "quality": quality,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "callback": callback,
        "full_output": full_output,
    }
    return run_task(image, Recipe.preset("denoise"), {**options, "sigma": sigma})
