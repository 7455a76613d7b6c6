"""What a run would cost and what is wrong with its layers, found out in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_dip.core.errors import ObservationError, RestoreError, SettingsError
from napari_dip.plugin.layers.to_observation import observation_of, observation_of_frames
from napari_dip.run.forecast import Outlook, Pace
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.layers import Image

log = logging.getLogger(__name__)

QUIET = 400  # milliseconds without another change
STACKED = "TZ"


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of a run before it begins.

    Attributes
    ----------
    outlook : Outlook or None
        None where something is wrong.
    wrong : mapping of str to str
        Sentences by the layer's role, or by the setting's name.
    """

    outlook: Outlook | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)


class Forecast:
    """Asks the engine, once nothing has changed for a moment; of several questions the last counts."""

    told = Signal(Told)

    def __init__(self) -> None:
        self._pace, self._busy, self._closed = Pace(), False, False
        self._question: Callable[[], Told] | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET)
        self._timer.timeout.connect(self._begin)

    def ask(
        self, recipe: Recipe, layer: Image, sizes: Mapping[str, int], inputs: Mapping[str, Any]
    ) -> None:
        """Find out what restoring `layer` would cost; `inputs` are those of `Session.run`."""
        self._question = lambda: _found_out(self._pace, recipe, layer, sizes, inputs)
        self._timer.start()

    def forget(self) -> None:
        """The question is no longer of interest."""
        self._question = None
        self._timer.stop()

    def close(self) -> None:
        """Tell nothing from here on."""
        self._closed = True
        self.forget()

    def _begin(self) -> None:
        from napari.qt.threading import create_worker

        question, self._question = self._question, None
        if self._busy or question is None:
            self._question = question
            return
        self._busy = True
        worker = create_worker(question, _start_thread=False)
        worker.returned.connect(lambda told: self._end(told))
        worker.start()

    def _end(self, told: Told) -> None:
        self._busy = False
        if self._closed:
            return
        if self._question is None:
            self.told.emit(told)
        else:
            self._begin()


def _found_out(
    pace: Pace, recipe: Recipe, layer: Image, sizes: Mapping[str, int], inputs: Mapping[str, Any]
) -> Told:
    """The outlook of one frame, times all; or what is wrong, and with what."""
    joint = "T" if recipe.operator.joint else ""
    middle_of = "".join(a for a in STACKED if a not in recipe.stack.together and a != joint)
    try:
        given = {name: part for name, part in inputs.items() if name not in ("axes", "frames")}
        if frames := inputs["frames"]:
            observation = observation_of_frames([layer, *frames], (), **given)
        else:
            observation = observation_of(layer, axes=inputs["axes"], middle_of=middle_of, **given)
        times, depths = (sizes.get(letter, 1) for letter in STACKED)
        return Told(pace.outlook(recipe, observation, times=times, depths=depths))
    except SettingsError as error:
        return Told(wrong={error.setting: str(error)})
    except ObservationError as error:
        return Told(wrong=_blamed(layer, middle_of, inputs) or {"image": str(error)})
    except (RestoreError, MemoryError, OSError) as error:
        return Told(wrong={"image": str(error) or "the memory is full: restore a smaller crop"})
    except Exception:  # superqt's workers would swallow a RuntimeError
        log.exception("nothing could be told of a run beforehand")
        return Told()


def _blamed(layer: Image, middle_of: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the companions, each taken by itself."""
    own = {"axes": inputs["axes"], "middle_of": middle_of}
    given: dict[str, dict[str, Any]] = {role: {role: inputs[role]} for role in ("holes", "sigma")}
    given |= {name: {"extras": {name: extra}} for name, extra in inputs["extras"].items()}
    wrong: dict[str, str] = {}
    try:
        observation_of(layer, **own)
    except ObservationError:
        return wrong  # it is the image itself
    for role, alone in given.items():
        try:
            observation_of(layer, **own, **alone)
        except ObservationError as error:
            wrong[role] = str(error)
    return wrong
