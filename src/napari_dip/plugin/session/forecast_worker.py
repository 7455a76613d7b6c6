"""Estimates the cost of a run in the background, and checks its layers, before it is started."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_dip.core.errors import (
    ObservationError,
    RestorationError,
    SettingsError,
    describe_unexpected,
)
from napari_dip.plugin.layers.to_observation import observation_from_layer, observation_from_layers
from napari_dip.plugin.session.messages import IN_LOG, MEMORY_FULL, NOTHING_MISSING
from napari_dip.plugin.session.run import fills_nothing
from napari_dip.run.forecast import RunEstimate, RunEstimator
from napari_dip.run.recipe import Recipe

if TYPE_CHECKING:
    from napari.layers import Image

log = logging.getLogger(__name__)

DEBOUNCE_MS = 400  # time without another change
STACK_AXES = "TZ"


@dataclass(frozen=True, eq=False)
class ForecastReport:
    """What is known of a run before it starts.

    Attributes
    ----------
    estimate : RunEstimate or None
        None where something is wrong, or nothing was estimated.
    errors : mapping of str to str
        Sentences by the layer's role, or by the setting's dotted name.
    """

    estimate: RunEstimate | None = None
    errors: Mapping[str, str] = field(default_factory=dict)


class Forecast:
    """Estimates a run once nothing has changed for a moment; a new request replaces a waiting one."""

    ready = Signal(ForecastReport)

    def __init__(self) -> None:
        self._estimator, self._busy, self._closed = RunEstimator(), False, False
        self._waiting: Callable[[], ForecastReport] | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(DEBOUNCE_MS)
        self._timer.timeout.connect(self._begin)

    def request(
        self, recipe: Recipe, layer: Image, sizes: Mapping[str, int], inputs: Mapping[str, Any]
    ) -> None:
        """Estimate the restoration of `layer`, with axes of these `sizes`; `inputs` as `Session.run`."""
        self._waiting = lambda: _make_report(self._estimator, recipe, layer, sizes, inputs)
        self._timer.start()

    def cancel(self) -> None:
        """Drop the waiting request."""
        self._waiting = None
        self._timer.stop()

    def close(self) -> None:
        """Report nothing from here on."""
        self._closed, self._waiting = True, None

    def _begin(self) -> None:
        from napari.qt.threading import create_worker

        if self._busy or self._waiting is None:
            return
        job, self._waiting = self._waiting, None
        self._busy = True
        worker = create_worker(job, _start_thread=False)
        worker.returned.connect(lambda report: self._end(report))
        worker.start()

    def _end(self, report: ForecastReport) -> None:
        self._busy = False
        if self._closed:
            return
        if self._waiting is None:
            self.ready.emit(report)
        else:
            self._begin()


def _make_report(
    estimator: RunEstimator,
    recipe: Recipe,
    layer: Image,
    sizes: Mapping[str, int],
    inputs: Mapping[str, Any],
) -> ForecastReport:
    """Return the estimate for all planes, made from one of them; or what is wrong with the input."""
    joint = "T" if recipe.operator.combines_time else ""
    middle_of = "".join(a for a in STACK_AXES if a not in recipe.stack.joint_axes and a != joint)
    layers = {name: value for name, value in inputs.items() if name not in ("axes", "frames")}
    try:
        if frames := inputs["frames"]:
            observation = observation_from_layers([layer, *frames], (), **layers)
        else:
            observation = observation_from_layer(
                layer, axes=inputs["axes"], middle_of=middle_of, **layers
            )
        times, depths = (sizes.get(letter, 1) for letter in STACK_AXES)
        if times * depths == 1 and fills_nothing(recipe, observation):
            return ForecastReport(errors={"mask": NOTHING_MISSING})
        return ForecastReport(estimator.estimate(recipe, observation, times=times, depths=depths))
    except SettingsError as error:
        return ForecastReport(errors={error.setting: str(error)})
    except ObservationError as error:
        return ForecastReport(errors=_input_errors(layer, middle_of, inputs) or {"image": str(error)})
    except (RestorationError, MemoryError, OSError) as error:
        return ForecastReport(errors={"image": str(error) or MEMORY_FULL})
    except Exception as error:  # superqt's workers would swallow a RuntimeError
        log.exception("a run could not be estimated")
        return ForecastReport(errors={"image": describe_unexpected(error, where=IN_LOG)})


def _input_errors(layer: Image, middle_of: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the mask, the noise map and the auxiliary data, each checked alone."""
    image_inputs = {"axes": inputs["axes"], "middle_of": middle_of}
    others: dict[str, dict[str, Any]] = {role: {role: inputs[role]} for role in ("mask", "sigma")}
    others |= {name: {"auxiliary": {name: source}} for name, source in inputs["auxiliary"].items()}
    errors: dict[str, str] = {}
    try:
        observation_from_layer(layer, **image_inputs)
    except ObservationError:
        return errors  # the image itself is to blame
    for role, other in others.items():
        try:
            observation_from_layer(layer, **image_inputs, **other)
        except ObservationError as error:
            errors[role] = str(error)
    return errors
