"""One run of a dock: its input, its layers and its result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import ObservationError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.core.strength import blend_images
from napari_dip.plugin.layers.mask_on_grid import source_id
from napari_dip.plugin.layers.placement import LayerPlacement
from napari_dip.plugin.layers.result_layers import ResultLayers
from napari_dip.plugin.layers.to_observation import observation_from_layer, observation_from_layers
from napari_dip.plugin.session.interrupted import describe_run
from napari_dip.plugin.session.messages import NOTHING_MISSING
from napari_dip.plugin.session.worker import Controls
from napari_dip.run.recipe import Recipe
from napari_dip.run.reselect import reselect_step
from napari_dip.run.warm_start import WarmStart

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

SNAPSHOT_EVERY = 50  # steps


class State(StrEnum):
    """What a session is doing, in the words that the dock shows."""

    IDLE = "Ready"
    RUNNING = "Running"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    DISCARDING = "Discarding"


@dataclass(eq=False)
class Run:
    """One run: its input, its layers, and its result once it has ended.

    Attributes
    ----------
    recipe : Recipe
        What is done.
    observation : Observation or None
        The data; None after `free`.
    layers : ResultLayers
        The layers that it adds.
    warm_start : WarmStart
        Its network, as long as the run can be continued.
    observe : callable
        Returns the observation of the layers as they are now, with a given mask.
    source : hashable
        Unique id of the restored layer.
    is_stack : bool
        Whether more than one block is restored.
    is_complex : bool
        Whether the result is complex.
    controls : Controls
        Requests to the thread.
    snapshots : list of (int, array)
        Images along the fit, and their steps.
    snapshot_every : int
        Steps between snapshots.
    result : Result or None
        None until the run has ended.
    mask : hashable
        Unique id of the mask layer; None without one.
    is_trial : bool
        Whether only a part of the layer is restored.
    is_kept : bool
        Whether later runs leave its layers where they are.
    description : str
        What is kept on disk of its layers and settings, as JSON.
    """

    recipe: Recipe
    observation: Observation | None
    layers: ResultLayers
    warm_start: WarmStart
    observe: Callable[[Labels | None], Observation]
    source: Hashable
    is_stack: bool
    is_complex: bool
    controls: Controls = field(default_factory=Controls)
    snapshots: list[tuple[int, FloatArray]] = field(default_factory=list)
    snapshot_every: int = SNAPSHOT_EVERY
    result: Result | None = None
    mask: Hashable = None
    is_trial: bool = False
    is_kept: bool = False
    description: str = ""

    def free(self) -> None:
        """Release what only the last run needs; its layers stay."""
        self.warm_start.clear()
        self.layers.forget()
        self.snapshots, self.observation = [], None

    def is_replaced_by(self, other: Run) -> bool:
        """Whether the layers of this run are removed once there is the result of another."""
        is_newer = self.is_trial or not other.is_trial
        return not self.is_kept and is_newer and self.source == other.source

    @property
    def continue_blocked_by(self) -> str:
        """Why the run cannot be continued, as a sentence; empty if it can."""
        if self.warm_start.fit is None and self.warm_start.is_amortized:
            return "A fit to crops takes all of its steps: raise solver.max_steps, and press Run again."
        if self.warm_start.fit is None:
            return "The network of this run is gone, because another run was started after it."
        if not self.warm_start.is_single_fit:
            return "Only a single fit of a whole image can be continued; press Run instead."
        return ""

    @property
    def steps(self) -> list[int]:
        """Steps that can be selected for the result instead of the automatic choice."""
        if self.is_stack or self.is_complex or self.recipe.ensemble.size > 1:
            return []
        return [step for step, _ in self.snapshots]

    @property
    def has_strength(self) -> bool:
        """Whether the result can be mixed with its data."""
        return (
            self.result is not None
            and self.observation is not None
            and self.recipe.operator.kind == "identity"
            and self.recipe.strength == 1
            and self.result.maps is None
        )

    def image_at(self, step: int | None, strength: float = 1.0) -> FloatArray | None:
        """Return the image of a step, or that of the result, mixed with the data; None before it."""
        if self.result is None:
            return None
        image = self.result.image if step is None else dict(self.snapshots)[step]
        if strength == 1 or self.observation is None:
            return image
        data = self.observation.to_input_axes(self.observation.y)
        return blend_images(image, data, np.isfinite(self.result.residual), strength)

    def result_at(self, step: int | None, strength: float = 1.0) -> Result | None:
        """Return the result with the image of another step, or the automatic choice, at a strength."""
        result = self.result
        if result is None or self.observation is None:
            return result
        if step is not None:
            result = reselect_step(result, dict(self.snapshots)[step], step)
        return result if strength == 1 else result.at_strength(strength)

    def store_snapshot(self, step: int, image: FloatArray, max_bytes: float) -> None:
        """Store an image along the fit; when they exceed `max_bytes`, drop every other one."""
        if self.snapshots and self.snapshots[-1][0] >= step:  # the refinement after the fit
            return
        self.snapshots.append((step, image))
        if len(self.snapshots) * image.nbytes > max_bytes and len(self.snapshots) > 1:
            self.snapshot_every *= 2
            self.snapshots = self.regular_snapshots

    @property
    def regular_snapshots(self) -> list[tuple[int, FloatArray]]:
        """The snapshots at multiples of `snapshot_every`."""
        return [(step, image) for step, image in self.snapshots if step % self.snapshot_every == 0]


def fills_nothing(recipe: Recipe, observation: Observation) -> bool:
    """Whether only missing pixels are restored, and none is missing."""
    fills = recipe.hard_data_consistency and recipe.operator.kind == "identity"
    return fills and bool(observation.observed.all())


def prepare_run(
    viewer: ViewerModel,
    recipe: Recipe,
    layer: Image,
    *,
    axes: str | None = None,
    frames: Sequence[Image] = (),
    mask: Labels | None = None,
    sigma: Image | None = None,
    auxiliary: Mapping[str, Layer] | None = None,
    whole: Image | None = None,
) -> tuple[Run, Observation]:
    """Return a run that restores `layer`, and its data, copied from the layers.

    Parameters
    ----------
    viewer : napari viewer or ViewerModel
        Where the layers will be added.
    recipe : Recipe
        What to do.
    layer : Image
        The image to restore.
    axes : str, optional
        Its axes, where the user corrected them.
    frames : sequence of Image
        More exposures of the same scene.
    mask : Labels, optional
        Nonzero where data are missing.
    sigma : Image, optional
        Standard deviation of the noise. [data units]
    auxiliary : mapping of str to Layer, optional
        Auxiliary data of the recipe, by name.
    whole : Image, optional
        The layer of which `layer` is a part, in a trial.

    Raises
    ------
    ObservationError
        If the layers cannot be restored, or nothing is missing where only missing pixels are restored.
    """
    inputs: dict[str, Any] = {"mask": mask, "sigma": sigma, "auxiliary": auxiliary}

    def observe(mask: Labels | None) -> Observation:
        current = inputs | {"mask": mask}
        if not frames:
            return observation_from_layer(layer, axes=axes, **current)
        return observation_from_layers([layer, *frames], viewer.layers, **current)

    observation = observe(mask)
    if fills_nothing(recipe, observation):
        raise ObservationError(NOTHING_MISSING)
    placement = LayerPlacement.from_layer(layer, None if frames else axes)
    if frames:
        placement = placement.with_time_axis()
    is_complex = recipe.operator.has_complex_scene
    if is_complex:  # the data are not an image
        placement = replace(placement, contrast_limits=None)
    result_axes = recipe.operator.result_axes(observation.axes)
    times, _, depths = observation.y.shape[:3]
    run = Run(
        recipe=recipe,
        observation=observation,
        layers=ResultLayers(viewer, placement, observation, result_axes, is_complex=is_complex),
        warm_start=WarmStart(recipe),
        observe=observe,
        source=(whole or layer).unique_id,
        is_stack=(1 if recipe.operator.combines_time else times) * depths > 1,
        is_complex=is_complex,
        mask=None if mask is None else source_id(mask),
        is_trial=whole is not None,
        description=describe_run(recipe, layer, inputs, frames),
    )
    return run, observation
