"""What a run would cost and what is wrong with its layers, found out in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_dip.core.errors import ObservationError, RestorationError, SettingsError
from napari_dip.plugin.layers.to_observation import observation_from_layer, observation_from_layers
from napari_dip.run.forecast import RunEstimate, RunEstimator
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.layers import Image

log = logging.getLogger(__name__)

DEBOUNCE_MS = 400  # milliseconds without another change
STACK_AXES = "TZ"


@dataclass(frozen=True, eq=False)
class ForecastReport:
    """What is known of a run before it begins.

    Attributes
    ----------
    outlook : Outlook or None
        None where something is wrong.
    wrong : mapping of str to str
        Sentences by the layer's role, or by the setting's name.
    """

    estimate: RunEstimate | None = None
    errors: Mapping[str, str] = field(default_factory=dict)


class Forecast:
    """Asks the engine, once nothing has changed for a moment; of several questions the last counts."""

    ready = Signal(ForecastReport)

    def __init__(self) -> None:
        self._pace, self._busy, self._closed = RunEstimator(), False, False
        self._question: Callable[[], ForecastReport] | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MS)
        self._timer.timeout.connect(self._begin)

    def request(
        self, recipe: Recipe, layer: Image, sizes: Mapping[str, int], inputs: Mapping[str, Any]
    ) -> None:
        """Find out what restoring `layer` would cost; `inputs` are those of `Session.run`."""
        self._question = lambda: _make_report(self._pace, recipe, layer, sizes, inputs)
        self._timer.start()

    def cancel(self) -> None:
        """The question is no longer of interest."""
        self._question = None
        self._timer.stop()

    def close(self) -> None:
        """Tell nothing from here on."""
        self._closed = True
        self.cancel()

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

    def _end(self, told: ForecastReport) -> None:
        self._busy = False
        if self._closed:
            return
        if self._question is None:
            self.ready.emit(told)
        else:
            self._begin()


def _make_report(
    pace: RunEstimator, recipe: Recipe, layer: Image, sizes: Mapping[str, int], inputs: Mapping[str, Any]
) -> ForecastReport:
    """The outlook of one frame, times all; or what is wrong, and with what."""
    joint = "T" if recipe.operator.combines_time else ""
    middle_of = "".join(a for a in STACK_AXES if a not in recipe.stack.joint_axes and a != joint)
    try:
        given = {name: part for name, part in inputs.items() if name not in ("axes", "frames")}
        if frames := inputs["frames"]:
            observation = observation_from_layers([layer, *frames], (), **given)
        else:
            observation = observation_from_layer(
                layer, axes=inputs["axes"], middle_of=middle_of, **given
            )
        times, depths = (sizes.get(letter, 1) for letter in STACK_AXES)
        return ForecastReport(pace.estimate(recipe, observation, times=times, depths=depths))
    except SettingsError as error:
        return ForecastReport(errors={error.setting: str(error)})
    except ObservationError as error:
        return ForecastReport(errors=_input_errors(layer, middle_of, inputs) or {"image": str(error)})
    except (RestorationError, MemoryError, OSError) as error:
        return ForecastReport(
            errors={"image": str(error) or "the memory is full: restore a smaller crop"}
        )
    except Exception:  # superqt's workers would swallow a RuntimeError
        log.exception("nothing could be told of a run beforehand")
        return ForecastReport()


def _input_errors(layer: Image, middle_of: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the companions, each taken by itself."""
    own = {"axes": inputs["axes"], "middle_of": middle_of}
    given: dict[str, dict[str, Any]] = {role: {role: inputs[role]} for role in ("holes", "sigma")}
    given |= {name: {"extras": {name: extra}} for name, extra in inputs["extras"].items()}
    wrong: dict[str, str] = {}
    try:
        observation_from_layer(layer, **own)
    except ObservationError:
        return wrong  # it is the image itself
    for role, alone in given.items():
        try:
            observation_from_layer(layer, **own, **alone)
        except ObservationError as error:
            wrong[role] = str(error)
    return wrong
