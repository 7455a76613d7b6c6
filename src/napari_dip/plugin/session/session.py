"""The session of a dock: starts runs, passes on requests, and adds the results to the viewer."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_dip.core.errors import RestorationError
from napari_dip.core.observation import Observation
from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.plugin.layers.metadata import find_layer
from napari_dip.plugin.layers.original_toggle import OriginalToggle
from napari_dip.plugin.layers.split_view import SplitView
from napari_dip.plugin.preferences import preferences
from napari_dip.plugin.session.run import SNAPSHOT_EVERY, Run, State, prepare_run
from napari_dip.plugin.session.worker import Controls, Outcome, in_thread, run_restoration
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

log = logging.getLogger(__name__)


class Session:
    """Runs one restoration at a time for one dock.

    Parameters
    ----------
    viewer : napari viewer or ViewerModel
        Where the layers are added.
    start : callable
        Runs a job with its callbacks: in a thread, or at once in tests.
    """

    changed = Signal(State)
    progressed = Signal(Progress)
    message = Signal(str, bool)
    """A sentence for the user, and whether it is an error."""
    finished = Signal(Result)
    shown = Signal(Result)
    """The result whose image is shown: of a run that has ended, or of another step or strength."""

    def __init__(self, viewer: ViewerModel, *, start: Callable[..., None] = in_thread) -> None:
        self._viewer = viewer
        self._start = start
        self._run: Run | None = None
        self._done: list[Run] = []
        self.original, self.split = OriginalToggle(viewer), SplitView(viewer)
        self.closed = False
        self.state = State.IDLE

    @property
    def current_run(self) -> Run | None:
        """The active run, or the last one that still has layers."""
        done = [run for run in self._done if run.layers.added]
        return self._run or (done[-1] if done else None)

    def run(self, recipe: Recipe, layer: Image, *, keep_previous: bool = False, **inputs: Any) -> None:
        """Start to restore `layer`; the layers are copied and never changed.

        The result replaces those of the same layer, but that of a trial only those of trials.

        Parameters
        ----------
        recipe : Recipe
            What to do.
        layer : Image
            The image to restore.
        keep_previous : bool
            Whether the layers of previous results stay, now and later.
        **inputs
            The other layers, as `prepare_run` takes them.

        Raises
        ------
        ObservationError
            If the layers cannot be restored.
        """
        if self._run is None:
            run, observation = prepare_run(self._viewer, recipe, layer, **inputs)
            for done in self._done:
                done.is_kept |= keep_previous
            self._begin(run, observation)

    def continue_blocked_by(self) -> str:
        """Return why the last run cannot be continued, as a sentence; empty if it can."""
        run = self.current_run
        if run is None or run.result is None or run is not self._done[-1]:
            return "There is no run to continue."
        return run.continue_blocked_by

    def continue_run(self) -> None:
        """Continue the last run from where it stopped; its layers stay, the new ones go on top."""
        if self._run is not None or self.continue_blocked_by():
            return
        last = self._done[-1]
        if last.observation is None:
            return
        last.is_kept = True
        run = replace(
            last,
            is_kept=False,
            layers=last.layers.copy_for_rerun(),
            warm_start=last.warm_start.resume(),
            controls=Controls(),
            snapshots=list(last.snapshots),
            result=None,
        )
        self._begin(run, last.observation)

    def pause(self) -> None:
        """Pause after the current step."""
        if self._run is not None and self.state == State.RUNNING:
            self._run.controls.pause.set()
            self._enter(State.PAUSED)

    def resume(self, mask: Labels | None = None) -> None:
        """Resume; where the mask has changed, start again from the network's present weights."""
        run = self._run
        if run is None or self.state != State.PAUSED:
            return
        if mask is None and self._is_removed(run.mask):
            self.message.emit("Resumed with the mask as it was: its layer was removed.", False)
        else:
            self._observe_again(run, mask)
        run.controls.pause.clear()
        self._enter(State.RUNNING)

    def _is_removed(self, layer: Hashable) -> bool:
        """Whether the layer with this unique id has left the viewer."""
        return layer is not None and find_layer(self._viewer.layers, layer) is None

    def _observe_again(self, run: Run, mask: Labels | None) -> None:
        """Continue with the layers as they are now, if they have changed."""
        try:
            observation = run.observe(mask)
        except RestorationError as error:  # a layer was removed: the copies are still there
            self.message.emit(f"Resumed with the layers as they were: {error}", False)
            return
        if run.observation is None or observation.digest() != run.observation.digest():
            run.observation, run.snapshots, run.snapshot_every = observation, [], SNAPSHOT_EVERY
            run.controls.new_observation.append(observation)
            self.message.emit("Resumed with the changed mask.", False)

    def stop(self) -> None:
        """Stop now and keep the best image so far."""
        if self._run is not None and self.state in (State.RUNNING, State.PAUSED):
            self._run.controls.stop.set()
            self._enter(State.STOPPING)

    def cancel(self) -> None:
        """Stop now and keep nothing."""
        if self._run is not None:
            self._run.controls.cancel.set()
            self._enter(State.DISCARDING)

    def preview_image(self, step: int | None, strength: float = 1.0) -> None:
        """Show the image of another step, or with None that of the result, for the moment."""
        run = self.current_run
        if self._run is None and run is not None and (image := run.image_at(step, strength)) is not None:
            run.layers.preview_image(image)

    def select_image(self, step: int | None, strength: float = 1.0) -> None:
        """Replace the result's image by that of another step, or with None by the automatic choice.

        With a strength below 1, it is mixed with the data.
        """
        run = self.current_run
        result = run.result_at(step, strength) if run is not None else None
        if self._run is None and run is not None and result is not None:
            run.layers.replace(result)
            self.shown.emit(result)

    def show_original(self, *, on: bool) -> None:
        """Show the original layer instead of the result, or both as they were before."""
        run = self.current_run
        if on and run is not None:
            self.original.show(run.source, run.layers.image_layer)
        else:
            self.original.undo()

    def show_split(self, *, on: bool) -> None:
        """Show the original layer on the left part of the result, or the result alone."""
        run = self.current_run
        if on and run is not None:
            self.split.show(run.source, run.layers.image_layer)
        else:
            self.split.hide()

    def undo(self) -> None:
        """Remove the layers that the last run added."""
        run = self.current_run
        if self._run is None and run is not None:
            self._done.remove(run)
            self.split.hide()
            run.layers.remove()
            self.message.emit("The layers of the last run have been removed.", False)
            self._enter(State.IDLE)

    def ask_for_preview(self) -> None:
        """Request an image with the next progress report."""
        run = self._run
        if run is not None and self.state == State.RUNNING and not run.layers.preview_removed:
            run.controls.preview.set()

    def close(self) -> None:
        """Interrupt the active run; from here on the viewer and the dock are not touched."""
        self.closed = True
        if self._run is not None:
            self._run.controls.leave.set()
        self.cancel()
        self._done.clear()

    def _begin(self, run: Run, observation: Observation) -> None:
        if self._done:
            self._done[-1].free()
        self._done = [done for done in self._done if done.layers.added]
        self._run = run
        self.split.hide()
        gc.collect()  # networks of earlier runs; here, because it is not safe in a thread
        self._enter(State.RUNNING)
        every = None if run.is_stack else SNAPSHOT_EVERY
        description = "" if run.is_trial else run.description
        job = run_restoration(
            run.recipe, observation, run.controls, every, run.warm_start, description=description
        )
        self._start(job, self._on_progress, self._on_outcome)

    def _enter(self, state: State) -> None:
        self.state = state
        if not self.closed:
            self.changed.emit(state)

    def _on_progress(self, progress: Progress) -> None:
        run = self._run
        if self.closed or run is None or self.state == State.DISCARDING:
            return
        if progress.image is not None:
            image = run.layers.magnitude_if_complex(progress.image)
            run.layers.preview(image)
            is_first_fit = progress.blocks == progress.tiles == 1 and not progress.member
            if is_first_fit and progress.step and progress.step % run.snapshot_every == 0:
                max_bytes = 1e9 * preferences().preview.snapshot_memory
                run.store_snapshot(progress.step, image, max_bytes)
        self.progressed.emit(progress)

    def _on_outcome(self, outcome: Outcome) -> None:
        run, self._run = self._run, None
        if self.closed or run is None:
            return
        result, sentence = outcome.result, outcome.error or "Discarded; nothing was kept."
        try:
            if result is None:
                run.layers.remove()
            else:
                for done in [done for done in self._done if done.is_replaced_by(run)]:
                    done.layers.remove()
                    self._done.remove(done)
                run.result, run.warm_start = result, outcome.warm_start or run.warm_start
                self._done.append(run)
                run.layers.show(result, run.regular_snapshots, run.snapshot_every)
                sentence = ""
        except Exception as error:
            log.exception("not all layers of a result could be added")
            sentence = f"Not all layers could be added: {error or type(error).__name__}"
        finally:
            self._enter(State.IDLE)
        if result is not None:
            self.finished.emit(result)
            self.shown.emit(result)
        if sentence:
            self.message.emit(sentence, result is not None or bool(outcome.error))
