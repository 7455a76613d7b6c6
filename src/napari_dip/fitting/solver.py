"""The loop: fit the prior to the problem, average along the way, stop before the noise is learnt."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from napari_dip.core.axes import FloatArray
from napari_dip.core.errors import RestorationError
from napari_dip.core.progress import Request
from napari_dip.core.settings import Settings
from napari_dip.core.torch_import import torch
from napari_dip.fitting.averaging import BestIterate, OneStandardErrorIterate, feather_mask
from napari_dip.fitting.stopping import EMA_WARMUP_STEPS, StoppingMonitor, best_step
from napari_dip.physics.problem import Problem
from napari_dip.prior.generator import Prior

PROGRESS_INTERVAL_S = 0.05  # seconds between two ticks, at least; a step in progress is never cut
MIN_CONTINUED_STEPS = 200  # steps that a fit which is run on takes at least
CHECK_EVERY_STEPS = (
    10  # steps between two looks at the stopping statistic, so that no step waits for the host
)


class Solver(Settings):
    """Optimiser and running average."""

    max_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 3000
    """Steps after which the run ends, stopped or not. [step]"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Step size of the Adam optimiser."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Weight of the past in the running average of the images; 0 for none."""
    warm_start: bool = True
    """Begin each crop of a large frame, and each frame of a stack, with the network of the one before,
    which takes about half the steps. Off: each with a new one."""


@dataclass(frozen=True)
class FitProgress:
    """A light sign of life; `image` (C, H, W), on its device, only where the reader asked for it."""

    step: int
    loss: float
    score: float
    image: torch.Tensor | None


@dataclass(frozen=True)
class FitResult:
    """The image of the chosen step, on its device, and the course of the fit."""

    x: torch.Tensor
    loss: FloatArray
    score: FloatArray
    selected_step: int
    stop_reason: str
    request: Request
    """What the reader of the run asked for last."""


class Fit:
    """The fit of a prior to a problem: it can be run, and then run on.

    Adam on the mean negative log-likelihood of `watch.fitted`; the result is the exponential running
    average of the images, corrected for its start, at the step that the watch prefers, and where it
    sets pixels apart at theirs.

    References
    ----------
    .. [1] Ulyanov et al., "Deep Image Prior", IJCV 128 (2020) 1867, eq. (3) and section 4.1
           (averaging).
    .. [2] Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 3 (the
           correction of running averages for their start).
    """

    def __init__(self, prior: Prior, watch: StoppingMonitor, solver: Solver) -> None:
        self.prior, self.monitor, self._solver = prior, watch, solver
        problem: Problem = watch.fit_problem
        self._optimizer = torch.optim.Adam(
            prior.network.parameters(), lr=solver.learning_rate, foreach=problem.y.device.type != "cpu"
        )
        self._curves = torch.zeros((3, 0), device=problem.y.device)  # losses, statistics, misfits
        self._ema = self._ema_sum = torch.zeros(problem.operator.scene_shape, device=problem.y.device)
        self._best = BestIterate(self._ema_sum)
        self._separate = (
            OneStandardErrorIterate(self._ema_sum, watch.separate_pixels)
            if watch.separate_pixels
            else None
        )
        self.step = 0

    def run(
        self, *, snapshot_every: int | None = None
    ) -> Generator[FitProgress, Request | None, FitResult]:
        """Minimise the loss over the network's parameters, from where it stands.

        Yields a tick several times a second and at every multiple of `snapshot_every`, then with its
        image. One that is run on goes `AGAIN` steps before the watch may stop it once more, and as
        many as the solver's most.

        Raises
        ------
        RestoreError
            If the fit diverges before there is anything to keep.
        """
        solver, watch, prior = self._solver, self.monitor, self.prior
        best, stars, running, average = self._best, self._separate, self._ema_sum, self._ema
        reason, wish, last_tick = "", Request(), time.monotonic()
        step, last = self.step, self.step + solver.max_steps
        earliest = step + MIN_CONTINUED_STEPS if step else 0
        more = self._curves.new_zeros((3, solver.max_steps))
        self._curves = torch.cat((self._curves[:, :step], more), dim=1)
        losses, statistics, misfits = self._curves
        while not reason:
            step += 1
            x, asked = prior(average if step > EMA_WARMUP_STEPS else None)
            loss = asked.loss(x)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            with torch.no_grad():
                running.lerp_(x, 1 - solver.ema_decay)
                average = running / (1 - solver.ema_decay**step)
                statistic = watch.score(average, x)
                losses[step - 1], statistics[step - 1] = loss.detach(), statistic
                newest = step <= EMA_WARMUP_STEPS or not watch.restore_best
                best.update(average, statistic, newest=newest)
                if stars:
                    misfits[step - 1] = stars.update(average, step)
            self.step, self._ema = step, average
            if step % CHECK_EVERY_STEPS == 0:
                seen = statistics[:step].cpu().numpy()
                if not np.isfinite(seen[-1]):
                    reason = "the fit diverged, and the best image before that was taken"
                    _raise_if_diverged(seen, watch)
                elif step >= earliest:
                    reason = watch.stop_reason(seen) or ""
                    if stars and not watch.stop_reason(misfits[:step].cpu().numpy()):
                        reason = ""
            if step == last and not reason:
                reason = f"all {step} steps were taken"
            snapshot = snapshot_every is not None and step % snapshot_every == 0
            if snapshot or wish.preview or time.monotonic() - last_tick >= PROGRESS_INTERVAL_S:
                image = average if snapshot or wish.preview else None
                last_tick = time.monotonic()
                now = (losses[step - 1].item(), statistics[step - 1].item())
                wish = (yield FitProgress(step, *now, image=image)) or Request()
                if wish.stop and not reason:
                    reason = f"finished by hand after {step} steps"
        course = statistics[:step].cpu().numpy()
        _raise_if_diverged(course, watch)
        chosen = best_step(course) if watch.restore_best else step
        x = best.average
        if stars:
            x = torch.lerp(x, stars.average, feather_mask(stars.mask))
            reason += f" (stars and the like are from step {int(stars.step)})"
        return FitResult(x, losses[:step].cpu().numpy(), course, chosen, reason, wish)


def _raise_if_diverged(course: FloatArray, watch: StoppingMonitor) -> None:
    """Raise where a fit came to nothing finite, and has no earlier image to fall back on."""
    if np.isfinite(course[-1]) or (watch.restore_best and np.isfinite(course).any()):
        return
    raise RestorationError(
        f"the fit diverged within {len(course)} steps: try a smaller solver.learning_rate,"
        " or a larger noise.sigma"
    )
