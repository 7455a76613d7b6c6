"""What a run has fitted so far, in a folder: another run can go on where this one is killed."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from napari_dip.core.observation import Observation
from napari_dip.core.progress import Request
from napari_dip.core.provenance import software_versions
from napari_dip.core.result import History
from napari_dip.core.state import State
from napari_dip.core.torch_import import torch
from napari_dip.fitting.solver import FitProgress
from napari_dip.io.atomic import atomic_write
from napari_dip.io.reading import first_line
from napari_dip.refine.settings import Method
from napari_dip.run.recipe import Recipe

log = logging.getLogger(__name__)

SAVE_EVERY_S = 120.0  # between two states of a fit that runs
MAX_AGE_S = 14 * 86400.0  # of a checkpoint that nobody has come back to
_PREFIX = "fit-"
_Ended = TypeVar("_Ended")


class _Fit(Protocol):
    """A fit whose state can be kept."""

    step: int

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class FinishedFit:
    """The refined image of a fit (C, H, W), the course of the fit, and how it was refined."""

    x: torch.Tensor
    history: History
    refinement: Method
    source_flux_corrected: bool

    def state_dict(self) -> State:
        """Return it as values that a file of torch has."""
        history = self.history
        curves = np.stack((history.loss, history.validation_loss))
        return {
            "x": self.x,
            "curves": torch.from_numpy(curves),
            "selected_step": history.selected_step,
            "stop_reason": history.stop_reason,
            "refinement": self.refinement,
            "source_flux_corrected": self.source_flux_corrected,
        }

    @classmethod
    def from_state_dict(cls, state: State, device: torch.device) -> Self:
        """Return the one whose `state_dict` this is, with the image on `device`."""
        loss, score = state["curves"].numpy()
        history = History(loss, score, state["selected_step"], state["stop_reason"])
        return cls(state["x"].to(device), history, state["refinement"], state["source_flux_corrected"])


class Checkpoint:
    """What a run has fitted so far.

    A run repeats what was done before its first fit, takes over the fits that were finished, with
    their refinement, and goes on with the one that was not. On a CPU its result is that of a run
    without interruption, bit for bit. A file is there completely or not at all. Where none can be
    written, a warning says so and the run goes on.

    Parameters
    ----------
    folder : Path, optional
        A folder of this run alone; it is made when there is something to keep. Without it nothing is
        kept.
    kept_fits : int
        How many finished fits are kept with their networks; of earlier ones the image is enough.
    save_every_s : float
        Seconds between two states of a fit that runs.

    Attributes
    ----------
    note : str
        Where the run went on; empty if nothing was kept before.
    description : tuple of (str, str)
        Name and text of a file that is kept with the fits; nothing if the name is empty.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        kept_fits: int = 1,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        self.folder, self.note, self.description = folder, "", ("", "")
        self._kept_fits, self._save_every_s = kept_fits, save_every_s
        self._number, self._last_save, self._may_write = -1, time.monotonic(), True

    @classmethod
    def of_run(
        cls, parent: str | os.PathLike[str], recipe: Recipe, observation: Observation, **options: Any
    ) -> Checkpoint:
        """Return that of a run in a folder of many, by its recipe, its data and the versions used.

        Those of other runs that are older than two weeks are removed. `options` are `save_every_s`, if
        any.
        """
        _remove_old(Path(parent))
        parts = recipe.to_json(), observation.digest(), repr(sorted(software_versions().items()))
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return cls(Path(parent) / name, kept_fits=recipe.ensemble.size, **options)

    def restore(self, fit: _Fit, device: torch.device) -> FinishedFit | None:
        """Let the next fit of the run go on where it stood, and return it if it was finished."""
        self._number += 1
        stored = self._load(fit)
        if "fit" in stored:
            fit.load_state_dict(stored["fit"])
            self.note = f"an interrupted run was continued at step {fit.step}"
        if "finished" not in stored:
            return None
        return FinishedFit.from_state_dict(stored["finished"], device)

    def record(
        self, fit: _Fit, fitting: Generator[FitProgress, Request | None, _Ended]
    ) -> Generator[FitProgress, Request | None, _Ended]:
        """Run `fitting`, that of `fit`; keep its state now and then, and when it ends or is left."""
        request = None
        with closing(fitting):
            while True:
                try:
                    progress = fitting.send(request)
                except StopIteration as end:
                    self.save(fit)
                    ended: _Ended = end.value
                    return ended
                if time.monotonic() - self._last_save >= self._save_every_s:
                    self.save(fit)
                try:
                    request = yield progress
                except GeneratorExit:  # the run is left
                    self.save(fit)
                    raise

    def save(self, fit: _Fit, finished: FinishedFit | None = None) -> None:
        """Keep the state of the current fit, and what was made of it once it is finished."""
        if self.folder is None or not self._may_write:
            return
        self._last_save = time.monotonic()
        state = {"fit": fit.state_dict()}
        if finished is not None:
            state["finished"] = finished.state_dict()
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(exist_ok=True)  # nothing above: it may be on a disk that has gone
            name, text = self.description
            if name:
                with atomic_write(self.folder / name) as file:
                    file.write_text(text, "utf-8")
            self._write(self._number, state)
            if finished is not None:
                self._drop_network(self._number - self._kept_fits)
        except (OSError, RuntimeError) as error:  # torch raises the latter where the disk is full
            why = error if isinstance(error, OSError) else f"is the disk full? ({first_line(error)})"
            log.warning("no checkpoint is kept in %s: %s", self.folder, why)
            self._may_write = False

    def remove(self) -> None:
        """Remove all that was kept: the result is where it should be."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _load(self, fit: _Fit) -> State:
        """What is kept of the current fit; nothing if it belongs to another or cannot be read."""
        if self.folder is None or not self._path(self._number).exists():
            return {}
        try:
            stored = self._read(self._number)
        except Exception as error:  # whatever is wrong with it, the fit can begin anew
            log.warning("%s is not used: %s", self._path(self._number), error)
            return {}
        own = fit.state_dict()
        is_of_fit = "fit" not in stored or _shapes(stored["fit"]) == _shapes(own)
        is_of_image = "finished" not in stored or stored["finished"]["x"].shape == own["average"].shape
        return stored if is_of_fit and is_of_image else {}

    def _drop_network(self, number: int) -> None:
        """Keep only the image of an earlier fit, if it has one; all of it where the fit has corrected
        its operator, which the residual needs.
        """
        if number >= 0 and self._path(number).exists():
            stored = self._read(number)
            if "fit" in stored and "finished" in stored and "operator" not in stored["fit"]:
                self._write(number, {"finished": stored["finished"]})

    def _read(self, number: int) -> State:
        state: State = torch.load(self._path(number), map_location="cpu", weights_only=True)
        return state

    def _write(self, number: int, state: State) -> None:
        with atomic_write(self._path(number)) as file:
            torch.save(state, file)

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{_PREFIX}{number:05d}.pt"


def _remove_old(parent: Path) -> None:
    with suppress(OSError):
        for folder in parent.iterdir():
            if time.time() - folder.stat().st_mtime > MAX_AGE_S and any(folder.glob(f"{_PREFIX}*.pt")):
                shutil.rmtree(folder, ignore_errors=True)


def _shapes(state: State) -> dict[str, torch.Size]:
    """The architecture of the network of a fit."""
    return {name: weights.shape for name, weights in state["network"].items()}
