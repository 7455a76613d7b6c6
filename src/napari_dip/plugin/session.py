"""A desk's session: starts runs, passes wishes on, and puts what comes back into the viewer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_dip.observation import Floats, Header, Observation
from napari_dip.plugin.layers import observation_of, observation_of_frames
from napari_dip.plugin.place import Place
from napari_dip.plugin.worker import Controls, Outcome, in_thread, restoration
from napari_dip.recipe import Recipe
from napari_dip.result import Iterate, Result

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 50  # steps
SIGMAS = 5  # the residual's darkest colours are that many
SNAPSHOT_BYTES = 256 * 2**20  # beyond this every other snapshot goes


class State(StrEnum):
    """What a session is doing, in the words the dock shows."""

    IDLE = "Ready"
    RUNNING = "Running"
    PAUSED = "Paused"
    FINISHING = "Finishing"
    CANCELLING = "Cancelling"


@dataclass
class _Run:
    """What belongs to one run and is forgotten with it."""

    place: Place
    observation: Observation
    axes: str
    """Of the result."""
    is_complex: bool = False
    """Whether its channels are real and imaginary parts, of which the magnitude is shown."""
    controls: Controls = field(default_factory=Controls)
    preview: Image | None = None
    preview_gone: bool = False
    snapshots: list[tuple[int, Floats]] = field(default_factory=list)
    every: int = SNAPSHOT_EVERY

    def place_of(self, image: Floats) -> Place:
        """Where a picture of the result belongs, as it is shown."""
        axes = self.axes.replace("C", "") if self.is_complex else self.axes
        shape = self.observation.as_input(self.observation.y).shape
        if self.is_complex:  # the data are no picture: their rows and columns are not the image's
            sizes = dict(zip(axes, image.shape, strict=True))
            sides = {letter: sizes[letter] for letter in "YX"}
            shape = tuple(
                sides.get(letter, size)
                for letter, size in zip(self.observation.axes, shape, strict=True)
            )
        return self.place.of_result(image.shape, shape, axes)

    def seen(self, image: Floats) -> Floats:
        """The result, or of a complex one the magnitude."""
        return np.hypot(*np.moveaxis(image, self.axes.index("C"), 0)) if self.is_complex else image


class Session:
    """Runs one restoration at a time for one dock.

    Parameters
    ----------
    viewer : napari viewer or ViewerModel
        Gets the layers.
    start : callable
        Drives a job with its callbacks: in a thread, or at once in tests.
    """

    changed = Signal(State)
    advanced = Signal(Iterate)
    said = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""
    finished = Signal(Result)

    def __init__(self, viewer: ViewerModel, *, start: Callable[..., None] = in_thread) -> None:
        self._viewer = viewer
        self._start = start
        self._run: _Run | None = None
        self.closed = False
        self.state = State.IDLE

    def run(
        self,
        recipe: Recipe,
        layer: Image,
        *,
        axes: str | None = None,
        frames: Sequence[Image] = (),
        holes: Labels | None = None,
        sigma: Image | None = None,
        extras: Mapping[str, Layer] | None = None,
    ) -> None:
        """Begin to restore `layer`; the inputs are copied and never changed.

        `axes` are the layer's where its file does not say; `frames` are more exposures of the same
        scene, `extras` what else the recipe needs.

        Raises
        ------
        ObservationError
            If the layers cannot be restored as they are.
        """
        if self._run is not None:
            return
        if frames:
            exposures = [layer, *frames]
            observation = observation_of_frames(
                exposures, self._viewer.layers, holes=holes, sigma=sigma, extras=extras
            )
        else:
            observation = observation_of(layer, axes=axes, holes=holes, sigma=sigma, extras=extras)
        kept = recipe.operator.result_axes(observation.axes)
        place = Place.of(layer).along_time() if frames else Place.of(layer, axes)
        is_complex = recipe.operator.complex_scene
        if is_complex:  # the data are no picture
            place = replace(place, contrast_limits=None)
        self._run = _Run(place, observation, kept, is_complex)
        self._enter(State.RUNNING)
        stack = (1 if recipe.operator.joint else observation.y.shape[0]) * observation.y.shape[2] > 1
        every = None if stack else SNAPSHOT_EVERY
        job = restoration(recipe, observation, self._run.controls, every)
        self._start(job, self._on_iterate, self._on_outcome)

    def pause(self) -> None:
        """Hold on after the current step."""
        if self._run is not None and self.state == State.RUNNING:
            self._run.controls.pause.set()
            self._enter(State.PAUSED)

    def resume(self) -> None:
        """Go on."""
        if self._run is not None and self.state == State.PAUSED:
            self._run.controls.pause.clear()
            self._enter(State.RUNNING)

    def finish(self) -> None:
        """Stop here and keep the best so far."""
        if self._run is not None and self.state in (State.RUNNING, State.PAUSED):
            self._run.controls.finish.set()
            self._enter(State.FINISHING)

    def cancel(self) -> None:
        """Stop here and keep nothing."""
        if self._run is not None:
            self._run.controls.cancel.set()
            self._enter(State.CANCELLING)

    def ask_for_preview(self) -> None:
        """Wish for an image with the next sign of life."""
        if self._run is not None and self.state == State.RUNNING and not self._run.preview_gone:
            self._run.controls.image.set()

    def close(self) -> None:
        """End whatever runs; nothing touches the viewer or the dock from here on."""
        self.closed = True
        self.cancel()

    def _enter(self, state: State) -> None:
        self.state = state
        if not self.closed:
            self.changed.emit(state)

    def _on_iterate(self, iterate: Iterate) -> None:
        run = self._run
        if self.closed or run is None or self.state == State.CANCELLING:
            return
        if iterate.image is not None:
            image = run.seen(iterate.image)
            self._show_preview(run, image)
            alone = iterate.frames == iterate.crops == 1 and not iterate.member
            if alone and iterate.step % run.every == 0:
                self._keep_snapshot(run, iterate.step, image)
        self.advanced.emit(iterate)

    def _on_outcome(self, outcome: Outcome) -> None:
        run, self._run = self._run, None
        if self.closed or run is None:
            return
        sentence, failed = outcome.error or "Cancelled; nothing was kept.", bool(outcome.error)
        try:
            preview = run.preview if run.preview in self._viewer.layers else None
            if outcome.result is not None:
                self._show_result(run, outcome.result, preview)
                sentence = f"Done: {outcome.result.verdict}."
            elif preview is not None:
                self._viewer.layers.remove(preview)
        except Exception as error:
            log.exception("the layers of a result could not all be added")
            sentence, failed = f"Not all layers could be added: {error or type(error).__name__}", True
        finally:
            self._enter(State.IDLE)
        if outcome.result is not None:
            self.finished.emit(outcome.result)
        self.said.emit(sentence, failed)

    def _show_preview(self, run: _Run, image: Floats) -> None:
        place = run.place_of(image)
        if run.preview is None:
            run.preview = self._add_image(place.shown(image), place.image_options("restoring"))
        elif run.preview in self._viewer.layers:
            run.preview.data = place.shown(image)
            if run.is_complex:  # the first picture's scale tells nothing of the later ones'
                run.preview.reset_contrast_limits()
        else:
            run.preview_gone = True  # deleted by the person: leave it at that

    @staticmethod
    def _keep_snapshot(run: _Run, step: int, image: Floats) -> None:
        run.snapshots.append((step, image))
        if len(run.snapshots) * image.nbytes > SNAPSHOT_BYTES and len(run.snapshots) > 1:
            run.every *= 2
            run.snapshots = [kept for kept in run.snapshots if kept[0] % run.every == 0]

    def _show_result(self, run: _Run, result: Result, preview: Image | None) -> None:
        if run.is_complex:
            parts = np.moveaxis(result.image, result.axes.index("C"), 0)
            result = result.magnitude()
            self._add_phase(run, np.arctan2(parts[1], parts[0]))
        place = run.place_of(result.image)
        options = place.image_options("restored", result=result, header=result.header)
        restored = preview
        if restored is None:
            restored = self._add_image(place.shown(result.image), options)
        else:
            restored.data = place.shown(result.image)
            restored.name, restored.metadata = options["name"], options["metadata"]
            if run.is_complex:
                restored.reset_contrast_limits()
        self._add_snapshots(run, result)
        self._add_residual(run, result)
        self._add_uncertainty(run, result)
        self._viewer.layers.move(self._viewer.layers.index(restored), -1)
        if result.filled.any():
            self._add_filled(run, result)
        if places := result.provenance["ensemble"]["doubtful"]:
            self._add_doubtful(run, result, places)

    def _add_phase(self, run: _Run, phase: Floats) -> None:
        options = run.place_of(phase).image_options("phase")
        options |= {"contrast_limits": (-np.pi, np.pi), "colormap": "hsv", "visible": False, "gamma": 1}
        self._add_image(phase, options)

    def _add_snapshots(self, run: _Run, result: Result) -> None:
        snapshots = [(step, image) for step, image in run.snapshots if step % run.every == 0]
        if not snapshots:
            return
        place = run.place_of(result.image)
        stack = np.stack([place.shown(image) for _, image in snapshots])
        options = place.image_options("iterations", header=result.header)
        options["metadata"] |= {"steps": [step for step, _ in snapshots]}
        options["metadata"].pop("napari-dip")  # its axes are no image's
        self._add_image(stack, options | place.stacked("iteration", run.every) | {"visible": False})

    def _add_residual(self, run: _Run, result: Result) -> None:
        values = result.residual_in_noise
        if run.place.rgb:  # differences have no colour: show that of the mean
            values = values.sum(axis=-1) / np.sqrt(values.shape[-1])
        look = {"contrast_limits": (-SIGMAS, SIGMAS), "colormap": "PiYG"}
        header = replace(run.observation.header, unit="")
        self._add_aside(run.place, values, "residual in sigmas", result.residual_axes, header, look)

    def _add_uncertainty(self, run: _Run, result: Result) -> None:
        values = result.uncertainty
        if values is None:
            return
        if run.place.rgb:
            values = values.mean(axis=-1)
        known = values[np.isfinite(values)]
        most = 4 * float(np.sqrt(np.mean(known**2))) if known.any() else 1.0
        look = {"contrast_limits": (0, most), "colormap": "magma"}
        place = run.place_of(result.image)
        self._add_aside(place, values, "uncertainty", result.axes, result.header, look)

    def _add_aside(
        self, place: Place, values: Floats, what: str, axes: str, header: Header, look: dict[str, Any]
    ) -> None:
        options = place.image_options(what, header=_aside(header, what))
        options["metadata"]["napari-dip"]["axes"] = axes[: values.ndim]
        self._add_image(values, options | look | {"rgb": False, "visible": False, "gamma": 1})

    def _add_filled(self, run: _Run, result: Result) -> None:
        filled = result.filled.any(axis=-1) if run.place.rgb else result.filled
        with self._same_selection():
            self._viewer.add_labels(
                filled.astype(np.uint8),
                name=f"{run.place.name} - filled",
                opacity=0.4,
                visible=False,
                **run.place_of(result.image).spatial,
            )

    def _add_doubtful(self, run: _Run, result: Result, places: Sequence[Sequence[int]]) -> None:
        """Rings about small sources that are not in most of the fits."""
        shown = result.axes.replace("C", "") if run.place.rgb else result.axes
        points = [[dict(zip("TZYX", p, strict=True)).get(a, 0) for a in shown] for p in places]
        with self._same_selection():
            self._viewer.add_points(
                points,
                name=f"{run.place.name} - in few fits only",
                size=15,
                face_color="transparent",
                border_color="orange",
                **run.place_of(result.image).spatial,
            )

    def _add_image(self, data: Any, options: dict[str, Any]) -> Image:
        with self._same_selection():
            layer: Image = self._viewer.add_image(data, **options)
        return layer

    @contextmanager
    def _same_selection(self) -> Iterator[None]:
        """Leave the selection as the person had it: it is where the next stroke goes."""
        selected, active = set(self._viewer.layers.selection), self._viewer.layers.selection.active
        yield
        self._viewer.layers.selection = selected
        self._viewer.layers.selection.active = active


def _aside(header: Header, what: str) -> Header:
    """The header for a by-product: its place on the sky, but not its source's other extensions."""
    lines = header.cards.splitlines()
    if not header.unit:  # the source's is not that of sigmas
        lines = [line for line in lines if not line.startswith("BUNIT ")]
    note = f"HISTORY No image of the sky: the {what} of a restoration."
    cards = "\n".join([*lines, note.ljust(80)]) if header.cards else ""
    return replace(header, path="", hdu=0, name=what, cards=cards, description="")
