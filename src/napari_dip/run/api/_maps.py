"""Maps of relaxation times, diffusion and decay."""

from __future__ import annotations

import warnings
from typing import Any, Literal, cast

import numpy as np

from napari_dip.core.assessment import Assessment
from napari_dip.core.errors import RestorationWarning, SettingsError
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.core.settings import union_members
from napari_dip.physics.signals import AnySignal, Signal
from napari_dip.run.api._mri import observe_kspace
from napari_dip.run.api._options import is_path, observe
from napari_dip.run.parameter_maps import map_findings, map_pixels
from napari_dip.run.recipe import Quality, Recipe, list_presets
from napari_dip.run.restoration import iter_restoration


def fit_maps(
    images: Any,
    signal: str | Signal,
    *,
    method: Literal["prior", "pixelwise"] = "prior",
    quality: Quality = "balanced",
    seed: int = 0,
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    sigma: float | None = None,
    mask: Any = None,
    axes: str | None = None,
    coil_maps: Any = None,
    **protocol: Any,
) -> ParameterMaps:
    """Map what a signal equation says of several images of one scene: T1, T2, diffusion, decay.

    With the prior, an untrained network makes maps, from which the equation makes the images; it is
    fitted to all of them together. Then the images are refined by similar patches, and the equation is
    fitted to each of their pixels. `restore` does the same with the presets ``t1-map``, ``t2-map``,
    ``adc-map`` and ``decay-map``: the maps are `Result.maps`. Of k-space, the complex images are
    reconstructed together first, as mixtures of a few (``t2-map-kspace``).

    Parameters
    ----------
    images : array, path or Result
        The images along T, such as (T, Y, X); those of magnetic resonance are magnitudes. Or complex
        k-space (T, coils, Y, X), or a file of it, as for `reconstruct_mri`, each image with its own
        lines.
    signal : str or Signal
        The equation: ``"t2"`` (also for T2*), ``"t1-flip-angle"``, ``"t1-inversion"``, ``"adc"`` or
        ``"decay"``.
    method : {"prior", "pixelwise"}
        Whether pixels help each other, or each is fitted alone, by least squares.
    quality, seed, device
        As for `denoise`. With ``"best"``, maps have an uncertainty.
    sigma : float, optional
        Standard deviation of the noise, of magnitudes that in the real and in the imaginary part, in
        data units; automatic: estimated.
    mask : array of bool, optional
        True where data are missing. A pixel that lacks an image has no value.
    axes : str, optional
        As for `denoise`. Default: an array has its images along the first axis.
    coil_maps : complex array or path, optional
        Coil sensitivities of k-space, (coils, Y, X). Default: estimated from its center.
    **protocol
        The numbers of the protocol: ``echo_times``, ``flip_angles`` and ``repetition_time``,
        ``inversion_times``, ``b_values`` or ``times``, in seconds, degrees and s/mm2. Default: those of
        the file.

    Returns
    -------
    ParameterMaps

    Raises
    ------
    SettingsError
        If there is no such equation, or the protocol does not suit it; or if k-space is to be fitted
        pixel by pixel.
    ObservationError
        If there are not as many images as the protocol says.

    Warns
    -----
    RestorationWarning
        If the assessment is not good: of the fit, of the equation, or of the protocol.

    Examples
    --------
    >>> import napari_dip as dip
    >>> times = np.array([0.01, 0.02, 0.04, 0.08])
    >>> amplitude = np.linspace(50, 150, 32 * 32).reshape(32, 32)
    >>> echoes = amplitude * np.exp(-times[:, None, None] / 0.05)
    >>> found = dip.fit_maps(echoes, "t2", echo_times=times, method="pixelwise")
    >>> print(f"{found.maps['T2'].mean():.3f} {found.units['T2']}")
    0.050 s
    """
    from napari_dip.io.mri.arrays import is_kspace

    equation = signal if isinstance(signal, Signal) else _equation(signal, protocol)
    if isinstance(images, Result):
        images, axes = images.image, axes or images.axes
    if isinstance(images, np.ndarray) and axes is None and images.ndim in (3, 4):
        axes = "TYX" if images.ndim == 3 else "TZYX"
    of_kspace = is_kspace(images) if is_path(images) else np.iscomplexobj(images)
    if of_kspace:
        observation = observe_kspace(images, coil_maps=coil_maps, mask=mask)
    elif coil_maps is not None:
        raise SettingsError("coil_maps are of k-space, and these are images", setting="coil_maps")
    else:
        observation, _ = observe(images, {"mask": mask, "axes": axes})
    equation = equation.with_protocol(observation.header, len(observation.y))
    if method == "pixelwise" and of_kspace:
        raise SettingsError(
            "k-space has no pixels to fit alone: reconstruct its images first, or take the prior",
            setting="method",
        )
    if method == "pixelwise":
        maps = map_pixels(equation, observation, sigma)
        _warn(Assessment.from_findings(map_findings(equation, maps)))
        return maps
    noise = {} if sigma is None else {"sigma": sigma}
    recipe = Recipe.preset("t2-map-kspace") if of_kspace else _preset(equation.kind)
    recipe = recipe.with_quality(quality)
    recipe = recipe.replace(signal=equation, noise=noise, seed=seed, compute={"device": device})
    result = iter_restoration(observation, recipe).result
    _warn(result.assessment)
    return cast(ParameterMaps, result.maps)


def _warn(assessment: Assessment) -> None:
    if assessment.level != "good":
        warnings.warn(str(assessment), RestorationWarning, stacklevel=3)


def _preset(kind: str) -> Recipe:
    """The preset with this signal equation, or that of T2 if there is none."""
    presets = map(Recipe.preset, list_presets())
    return next((one for one in presets if one.signal.kind == kind), Recipe.preset("t2-map"))


def _equation(kind: str, protocol: dict[str, Any]) -> Signal:
    kinds = {member.model_fields["kind"].default: member for member in union_members(AnySignal)}
    del kinds["none"]
    if kind not in kinds:
        raise SettingsError(f"there is no signal '{kind}': choose {', '.join(sorted(kinds))}")
    values = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in protocol.items()
    }
    return cast(Signal, kinds[kind].parse(values, source="the protocol"))
