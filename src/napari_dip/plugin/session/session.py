"""A desk's session: starts runs, passes wishes on, and puts what comes back into the viewer."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.plugin.layers.placement import LayerPlacement
from napari_dip.plugin.layers.result_layers import ResultLayers
from napari_dip.plugin.layers.to_observation import observation_from_layer, observation_from_layers
from napari_dip.plugin.preferences import preferences
from napari_dip.plugin.session.run import SNAPSHOT_EVERY, Run, State
from napari_dip.plugin.session.worker import Controls, Outcome, in_thread, run_restoration
from napari_dip.run.recipe import Recipe
from napari_dip.run.reselect import reselect_step
from napari_dip.run.warm_start import WarmStart

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

log = logging.getLogger(__name__)


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
    progressed = Signal(Progress)
    message = Signal(str, bool)
    """A sentence for the person, and whether it is an error."""
    finished = Signal(Result)

    def __init__(self, viewer: ViewerModel, *, start: Callable[..., None] = in_thread) -> None:
        self._viewer = viewer
        self._start = start
        self._run: Run | None = None
        self._done: list[Run] = []
        self._seen: dict[Hashable, bool] = {}
        self.closed = False
        self.state = State.IDLE

    @property
    def current_run(self) -> Run | None:
        """The run whose layers are on top: that under way, or the last with any left."""
        done = [run for run in self._done if run.layers.added]
        return self._run or (done[-1] if done else None)

    def run(
        self,
        recipe: Recipe,
        layer: Image,
        *,
        axes: str | None = None,
        frames: Sequence[Image] = (),
        mask: Labels | None = None,
        sigma: Image | None = None,
        auxiliary: Mapping[str, Layer] | None = None,
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

        def observe(holes: Labels | None) -> Observation:
            given: dict[str, Any] = {"holes": holes, "sigma": sigma, "extras": auxiliary}
            if not frames:
                return observation_from_layer(layer, axes=axes, **given)
            return observation_from_layers([layer, *frames], self._viewer.layers, **given)

        observation = observe(mask)
        place = (
            LayerPlacement.from_layer(layer).with_time_axis()
            if frames
            else LayerPlacement.from_layer(layer, axes)
        )
        is_complex = recipe.operator.has_complex_scene
        if is_complex:  # the data are no picture
            place = replace(place, contrast_limits=None)
        kept = recipe.operator.result_axes(observation.axes)
        layers = ResultLayers(self._viewer, place, observation, kept, is_complex=is_complex)
        times, _, depths = observation.y.shape[:3]
        is_stack = (1 if recipe.operator.combines_time else times) * depths > 1
        starts, source = WarmStart(recipe), layer.unique_id
        run = Run(recipe, observation, layers, starts, observe, source, is_stack, is_complex)
        self._begin(run, observation)

    def continue_blocked_by(self) -> str:
        """Why the last run cannot go on, as a sentence; nothing where it can."""
        run = self.current_run
        if run is None or run.result is None or run is not self._done[-1]:
            return "There is no run that could go on."
        if run.warm_start.fit is None:
            return "What was learnt is forgotten: another run began."
        return (
            ""
            if run.warm_start.is_single_fit
            else "Only one fit to one whole image can go on; press Run instead."
        )

    def continue_run(self) -> None:
        """Run on where the last run stopped; its layers stay, the new ones come on top."""
        if self._run is not None or self.continue_blocked_by():
            return
        last = self._done[-1]
        observation = last.observation
        if observation is None:
            return
        again = replace(
            last,
            layers=last.layers.copy_for_rerun(),
            warm_start=last.warm_start.resume(),
            controls=Controls(),
            snapshots=list(last.snapshots),
            result=None,
        )
        self._begin(again, observation)

    def pause(self) -> None:
        """Hold on after the current step."""
        if self._run is not None and self.state == State.RUNNING:
            self._run.controls.pause.set()
            self._enter(State.PAUSED)

    def resume(self, mask: Labels | None = None) -> None:
        """Go on; from the beginning, with what was learnt so far, where other pixels are `holes` now."""
        run = self._run
        if run is None or self.state != State.PAUSED:
            return
        try:
            now = run.observe(mask)
            if run.observation is None or now.digest() != run.observation.digest():
                run.observation, run.snapshots, run.snapshot_every = now, [], SNAPSHOT_EVERY
                run.controls.new_observation.append(now)
                self.message.emit("Going on with the holes as they are painted now.", False)
        except RestorationError as error:  # a layer is gone: the copies are still there
            self.message.emit(f"Going on with the layers as they were: {error}", False)
        run.controls.pause.clear()
        self._enter(State.RUNNING)

    def finish(self) -> None:
        """Stop here and keep the best so far."""
        if self._run is not None and self.state in (State.RUNNING, State.PAUSED):
            self._run.controls.stop.set()
            self._enter(State.FINISHING)

    def cancel(self) -> None:
        """Stop here and keep nothing."""
        if self._run is not None:
            self._run.controls.cancel.set()
            self._enter(State.CANCELLING)

    def preview_step(self, step: int | None) -> None:
        """Show the image of another step, for the moment; None: the result's."""
        run = self.current_run
        if self._run is None and run is not None and run.result is not None:
            run.layers.preview_step(run.result.image if step is None else dict(run.snapshots)[step])

    def select_step(self, step: int | None) -> None:
        """Put the image of another step in place of the result's; None: that which was chosen."""
        run = self.current_run
        if self._run is not None or run is None or run.result is None:
            return
        result = run.result
        if step is not None and run.observation is not None:
            result = reselect_step(result, run.observation, dict(run.snapshots)[step], step)
        run.layers.replace(result)
        self.message.emit(f"Shown: {result.summary}.", False)

    def show_original(self, *, on: bool) -> None:
        """Show the layer that was restored instead of the result, or both as they were seen before."""
        for layer in self._viewer.layers:
            layer.visible = self._seen.pop(layer.unique_id, layer.visible)
        run = self.current_run
        if on and run is not None and run.layers.image_layer is not None:
            sources = [layer for layer in self._viewer.layers if layer.unique_id == run.source]
            for layer, seen in (
                (run.layers.image_layer, False),
                *((source, True) for source in sources),
            ):
                self._seen[layer.unique_id], layer.visible = layer.visible, seen

    def undo(self) -> None:
        """Take out the layers that the last run added."""
        run = self.current_run
        if self._run is None and run is not None:
            self._done.remove(run)
            run.layers.remove()
            self.message.emit("The layers of the last run are gone.", False)
            self._enter(State.IDLE)

    def ask_for_preview(self) -> None:
        """Wish for an image with the next sign of life."""
        run = self._run
        if run is not None and self.state == State.RUNNING and not run.layers.preview_gone:
            run.controls.preview.set()

    def close(self) -> None:
        """End whatever runs; nothing touches the viewer or the dock from here on."""
        self.closed = True
        self.cancel()
        self._done.clear()

    def _begin(self, run: Run, observation: Observation) -> None:
        if self._done:
            self._done[-1].free()
        self._done = [done for done in self._done if done.layers.added]
        self._run = run
        gc.collect()  # networks of runs before; here, for in a thread it would not be safe
        self._enter(State.RUNNING)
        every = None if run.is_stack else SNAPSHOT_EVERY
        job = run_restoration(run.recipe, observation, run.controls, every, run.warm_start)
        self._start(job, self._on_progress, self._on_outcome)

    def _enter(self, state: State) -> None:
        self.state = state
        if not self.closed:
            self.changed.emit(state)

    def _on_progress(self, iterate: Progress) -> None:
        run = self._run
        if self.closed or run is None or self.state == State.CANCELLING:
            return
        if iterate.image is not None:
            image = run.layers.magnitude_if_complex(iterate.image)
            run.layers.preview(image)
            alone = iterate.blocks == iterate.tiles == 1 and not iterate.member
            if alone and iterate.step % run.snapshot_every == 0:
                run.store_snapshot(iterate.step, image, 1e9 * preferences().watching.snapshot_memory)
        self.progressed.emit(iterate)

    def _on_outcome(self, outcome: Outcome) -> None:
        run, self._run = self._run, None
        if self.closed or run is None:
            return
        sentence, failed = outcome.error or "Cancelled; nothing was kept.", bool(outcome.error)
        try:
            if outcome.result is None:
                run.layers.remove()
            else:
                run.result, run.warm_start = outcome.result, outcome.warm_start or run.warm_start
                self._done.append(run)
                kept = [(step, image) for step, image in run.snapshots if step % run.snapshot_every == 0]
                run.layers.show(outcome.result, kept, run.snapshot_every)
                sentence = f"Done: {outcome.result.summary}."
        except Exception as error:
            log.exception("the layers of a result could not all be added")
            sentence, failed = f"Not all layers could be added: {error or type(error).__name__}", True
        finally:
            self._enter(State.IDLE)
        if outcome.result is not None:
            self.finished.emit(outcome.result)
        self.message.emit(sentence, failed)
