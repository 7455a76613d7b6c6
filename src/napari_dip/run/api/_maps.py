"""Maps of relaxation times, diffusion and decay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

from napari_dip.core.axes import to_canonical
from napari_dip.core.errors import ObservationError, SettingsError
from napari_dip.core.parameter_maps import ParameterMaps
from napari_dip.core.result import Result
from napari_dip.core.settings import union_members
from napari_dip.core.torch_import import torch
from napari_dip.physics.signals import AnySignal, Signal
from napari_dip.physics.signals.pixelwise import fit_pixels
from napari_dip.run.api._options import observe
from napari_dip.run.recipe import Quality, Recipe
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
    **protocol: Any,
) -> ParameterMaps:
    """Map what a signal equation says of several images of one scene: T1, T2, diffusion, decay.

    With the prior, an untrained network makes maps, from which the equation makes the images; it is
    fitted to all of them together. Then the images are refined by similar patches, and the equation is
    fitted to each of their pixels.

    Parameters
    ----------
    images : array, path or Result
        The images along T, such as (T, Y, X); magnitudes.
    signal : str or Signal
        The equation: ``"t2"`` (also for T2*), ``"t1-flip-angle"``, ``"t1-inversion"``, ``"adc"`` or
        ``"decay"``.
    method : {"prior", "pixelwise"}
        Whether pixels help each other, or each is fitted alone, by least squares.
    quality, seed, device
        As for `denoise`.
    sigma : float, optional
        Standard deviation of the noise, in data units; automatic: from the misfit of typical pixels.
    mask : array of bool, optional
        True where data are missing. A pixel that lacks an image has no value.
    axes : str, optional
        As for `denoise`. Default: an array has its images along the first axis.
    **protocol
        The numbers of the protocol: ``echo_times``, ``flip_angles`` and ``repetition_time``,
        ``inversion_times``, ``b_values`` or ``times``, in seconds, degrees and s/mm2.

    Returns
    -------
    ParameterMaps

    Raises
    ------
    SettingsError
        If there is no such equation, or the protocol does not suit it.
    ObservationError
        If there are not as many images as the protocol says.

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
    equation = signal if isinstance(signal, Signal) else _equation(signal, protocol)
    if isinstance(images, Result):
        images, axes = images.image, axes or images.axes
    if isinstance(images, np.ndarray) and axes is None and images.ndim in (3, 4):
        axes = "TYX" if images.ndim == 3 else "TZYX"
    observation, _ = observe(images, {"mask": mask, "axes": axes})
    number, *others = observation.y.shape
    if number != equation.num_contrasts:
        raise ObservationError(
            f"there are {number} images along T, and the protocol is of {equation.num_contrasts}: name"
            " the axis of the images T, or correct the protocol"
        )
    known = observation.observed.all(axis=0).reshape(-1)
    y = torch.from_numpy(observation.y.reshape(number, -1)[:, known])
    found, assessment = fit_pixels(equation, y, sigma), None
    if method == "prior":
        noise = float(found.variance**0.5)
        changes = {"seed": seed, "compute.device": device, "noise.sigma": noise}
        recipe = _recipe(equation).with_quality(quality).with_settings(changes)
        result = iter_restoration(observation, recipe).result
        restored = to_canonical(result.image, result.axes).reshape(number, -1)[:, known]
        made = fit_pixels(equation, torch.from_numpy(restored), noise)
        misfit = (equation.signal(made.value, made.linear) - y).square().mean(dim=0)
        found, assessment = replace(made, misfit=misfit), result.assessment

    def on_grid(values: torch.Tensor) -> Any:
        plane = np.full(known.shape, np.nan, np.float32)
        plane[known] = values.numpy()
        return observation.to_input_axes(plane.reshape(1, *others), own)

    own = observation.axes.replace("T", "")
    name, unit, *_ = equation.parameter
    quantities = {name: (found.value, found.value_std)}
    quantities |= dict(
        zip(equation.linear, zip(found.linear, found.linear_std, strict=True), strict=True)
    )
    return ParameterMaps(
        maps={name: on_grid(value) for name, (value, _) in quantities.items()},
        std={name: on_grid(std) for name, (_, std) in quantities.items()},
        units={name: unit} | dict.fromkeys(equation.linear, observation.header.unit),
        chi_square=on_grid(found.misfit / found.variance),
        sigma=float(found.variance**0.5),
        axes=own,
        assessment=assessment,
    )


def _recipe(equation: Signal) -> Recipe:
    return Recipe.preset("time-series").replace(title="Map parameters", signal=equation.model_dump())


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
