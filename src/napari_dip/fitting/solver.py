"""The loop: fit the prior to the problem, average on the way, stop before the noise is learned."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import DivergenceError
from napari_dip.core.progress import Request
from napari_dip.core.result import History
from napari_dip.core.settings import Settings
from napari_dip.core.state import State, Stateful, generator_states, set_generator_states
from napari_dip.core.torch_import import torch
from napari_dip.fitting.averaging import BestIterate, OneStandardErrorIterate, feather_mask
from napari_dip.fitting.stopping import EMA_WARMUP_STEPS, StoppingMonitor, best_step, selectable
from napari_dip.prior.generator import Prior

PROGRESS_INTERVAL_S = 0.05  # seconds between two reports, at least; a step is never interrupted
MIN_CONTINUED_STEPS = 200  # that a continued fit takes before it may stop
DIVERGED = "the fit diverged, and the best image before was kept"
ALL_STEPS = "all "  # how the reason of a fit begins that reached the maximum
ADAPT_EVERY_STEPS = 100  # between two corrections of an operator that is not known completely
CHECK_EVERY_STEPS = 10  # between two looks at the scores, so that no step waits for the device


class Solver(Settings):
    """Optimizer and running average."""

    method: Literal["auto", "whole", "tiled", "amortized", "patches"] = "auto"
    """What a network is fitted to: the whole image, tiles of it, or random crops of it, after which it
    is applied everywhere (amortized); or no network, only similar patches of the image. Automatic:
    amortized for images of three quarters of a megapixel and more that are denoised or inpainted plane
    by plane; else the whole, or tiles where it is too large."""
    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 3000
    """Maximum number of steps; an amortized fit takes all of them. [step]"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Step size of the Adam optimizer."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the exponential moving average of the images; 0 for none."""
    warm_start: Literal["auto", "always", "never"] = "auto"
    """Whether each tile of a large image, each plane of a stack, and each large frame of a batch starts
    with the network of the one before, which takes a half to a quarter of the steps. Automatic: except
    where amortized fits are for frames of the same field, whose errors have to be independent."""

    @field_validator("warm_start", mode="before")
    @classmethod
    def _from_switch(cls, value: Any) -> Any:
        """Recipes once had a switch here."""
        return ("auto" if value else "never") if isinstance(value, bool) else value


@dataclass(frozen=True)
class FitProgress:
    """Where a fit stands; `image` (C, H, W), on its device, only where it was requested."""

    step: int
    loss: float
    score: float
    image: torch.Tensor | None


@dataclass(frozen=True)
class FitResult:
    """The image of the selected step, on its device, and the course of the fit."""

    x: torch.Tensor
    history: History
    request: Request
    """The last request of the reader."""


class Fit:
    """The fit of a prior to a problem, which can be run and then continued.

    Adam minimizes the loss of the monitor's problem. The result is the exponential moving average of the
    images, corrected for its start, at the step that the monitor selects; pixels that the monitor
    separates have a step of their own.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (3) and section 4.1
           (averaging).
    .. [2] Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 3 (the
           correction of moving averages for their start).
    """

    def __init__(self, prior: Prior, monitor: StoppingMonitor, solver: Solver) -> None:
        self.prior, self.monitor, self._solver = prior, monitor, solver
        device = monitor.fit_problem.y.device
        self._optimizer = torch.optim.Adam(
            prior.network.parameters(), lr=solver.learning_rate, foreach=device.type != "cpu"
        )
        self._curves = torch.zeros((3, 0), device=device)  # loss, score, misfit of separate pixels
        self._ema = self._ema_sum = torch.zeros(monitor.fit_problem.operator.scene_shape, device=device)
        self._best = BestIterate(self._ema_sum)
        separate = monitor.separate_pixels
        self._separate = OneStandardErrorIterate(self._ema_sum, separate) if separate else None
        self.step, self.stop_requested = 0, False
        self._first, self._last, self._stop_reason = 0, solver.max_steps, ""

    def extend(self) -> None:
        """Let the next `run` continue a fit that has stopped, by at least `MIN_CONTINUED_STEPS`."""
        self._first, self._last = self.step, self.step + self._solver.max_steps
        self._stop_reason = ""

    def run(
        self, *, snapshot_every: int | None = None
    ) -> Generator[FitProgress, Request | None, FitResult]:
        """Minimize the loss over the parameters of the network, from where it stands.

        Yields several times a second, and with an image at every multiple of `snapshot_every`.

        Raises
        ------
        DivergenceError
            If the fit diverges before there is an image to keep.
        """
        done = self._curves[:, : self.step]
        self._curves = torch.cat((done, done.new_zeros((3, self._last - self.step))), dim=1)
        request, last_report = Request(), time.monotonic()
        while not self._stop_reason:
            self._take_step()
            if self.step % CHECK_EVERY_STEPS == 0:
                self._stop_reason = self._check()
            if self.step == self._last and not self._stop_reason:
                self._stop_reason = f"{ALL_STEPS}{self.step} steps were taken"
            snapshot = snapshot_every is not None and self.step % snapshot_every == 0
            with_image = snapshot or request.preview
            if with_image or time.monotonic() - last_report >= PROGRESS_INTERVAL_S:
                last_report = time.monotonic()
                request = (yield self._progress(with_image=with_image)) or Request()
                self.stop_requested = request.stop
                if request.stop and not self._stop_reason:
                    self._stop_reason = f"stopped by hand after {self.step} steps"
        return self._finish(request)

    def state_dict(self) -> State:
        """Return all that the rest of the fit depends on, and its result."""
        return {
            "step": self.step,
            "first": self._first,
            "last": self._last,
            "stop_reason": self._stop_reason,
            "curves": self._curves[:, : self.step].clone(),
            "average": self._ema_sum,
            "network": self.prior.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": generator_states(self.prior.generators),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another fit of the same prior to the same problem stood."""
        device = self._ema_sum.device
        self.step, self._first, self._last = state["step"], state["first"], state["last"]
        self._stop_reason = state["stop_reason"]
        self._curves, self._ema_sum = state["curves"].to(device), state["average"].to(device)
        self._ema = self._corrected_average()
        self.prior.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        set_generator_states(self.prior.generators, state["random"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name], device)

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {"best": self._best, "monitor": self.monitor.state}
        operator = self.monitor.fit_problem.operator
        parts |= {"operator": operator} if isinstance(operator, Stateful) else {}
        return parts | ({"separate": self._separate} if self._separate else {})

    def _corrected_average(self) -> torch.Tensor:
        return self._ema_sum / (1 - self._solver.ema_decay**self.step)

    def _take_step(self) -> None:
        """One step of the optimizer, of the moving average and of the scores."""
        self.step += 1
        step = self.step
        x, target = self.prior(self._ema if step > EMA_WARMUP_STEPS else None)
        loss = target.loss(x)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        losses, scores, misfits = self._curves
        with torch.no_grad():
            self._ema_sum.lerp_(x, 1 - self._solver.ema_decay)
            self._ema = self._corrected_average()
            score = self.monitor.score(self._ema, x)
            losses[step - 1], scores[step - 1] = loss.detach(), score
            always = step <= EMA_WARMUP_STEPS or not self.monitor.restore_best
            self._best.update(self._ema, score, always=always)
            if self._separate:
                misfits[step - 1] = self._separate.update(self._ema, step)
            if step % ADAPT_EVERY_STEPS == 0:
                self.monitor.fit_problem.adapt_operator(x.detach())

    def _check(self) -> str:
        """Why the fit stops now, or an empty string."""
        _, scores, misfits = (curve[: self.step] for curve in self._curves)
        score_history = scores.cpu().numpy()
        if not np.isfinite(score_history[-1]):
            _raise_if_diverged(score_history, self.monitor)
            return DIVERGED
        if self._first and self.step < self._first + MIN_CONTINUED_STEPS:
            return ""
        reason = self.monitor.stop_reason(score_history) or ""
        if self._separate and not self.monitor.stop_reason(misfits.cpu().numpy()):
            return ""
        return reason

    def _progress(self, *, with_image: bool) -> FitProgress:
        loss, score = (self._curves[row, self.step - 1].item() for row in (0, 1))
        return FitProgress(self.step, loss, score, self._ema if with_image else None)

    def _finish(self, request: Request) -> FitResult:
        losses, scores = (self._curves[row, : self.step].cpu().numpy() for row in (0, 1))
        _raise_if_diverged(scores, self.monitor)
        selected = best_step(scores) if self.monitor.restore_best else self.step
        x, stop_reason = self._best.average, self._stop_reason
        if self._separate:
            x = torch.lerp(x, self._separate.average, feather_mask(self._separate.mask))
            stop_reason += f" (stars and other bright pixels: step {int(self._separate.step)})"
        return FitResult(x, History(losses, scores, selected, stop_reason), request)


def _raise_if_diverged(scores: FloatArray, monitor: StoppingMonitor) -> None:
    """Raise an error if a fit diverged and no earlier image can be kept."""
    if np.isfinite(scores[-1]) or (monitor.restore_best and np.isfinite(selectable(scores)).any()):
        return
    raise DivergenceError(
        f"the fit diverged within {len(scores)} steps: try a smaller solver.learning_rate, or a larger"
        " noise.sigma"
    )
