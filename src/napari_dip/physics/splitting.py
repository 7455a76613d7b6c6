"""Two problems from one: by more of the noise, or by pixels."""

from __future__ import annotations

from dataclasses import replace

from napari_dip.core.torch_import import torch
from napari_dip.physics.problem import Problem

MIN_HELD_OUT = 200  # data, whose mean error can be relied on


def split_noise(
    problem: Problem, x: torch.Tensor | None, alpha: float, generator: torch.Generator
) -> tuple[Problem, Problem]:
    """Return two problems of one scene whose data have independent noise.

    The noise of the first is sqrt(1 + alpha^2) times that of the data, that of the second
    sqrt(1 + 1 / alpha^2) times.

    Parameters
    ----------
    problem : Problem
        The problem to split.
    x : (C, H, W) tensor, optional
        The scene as far as it is known, which determines the strength of the noise. Default: the
        smoothed data.
    alpha : float
        Strength of the noise that is added to the first, relative to that of the data.
    generator : torch.Generator
        On the device of the data.
    """
    mean = problem.predicted(x) if x is not None else problem.smoothed
    first, second = problem.likelihood.split(problem.y, mean, alpha, generator)
    return (
        replace(problem, y=first, likelihood=problem.likelihood.of_first_part(alpha)),
        replace(problem, y=second),
    )


def hold_out(problem: Problem, fraction: float, generator: torch.Generator) -> tuple[Problem, Problem]:
    """Return the problem without a random `fraction` of its data, and with those data alone.

    Of small problems more is held out, up to a tenth: a few dozen pixels could not tell one step from
    the next.
    """
    # The pixels with the smallest random numbers: at least one, and never all of them.
    draw = torch.rand(problem.y.shape, generator=generator)
    draw[~problem.observed.cpu()] = torch.inf
    observed = int(problem.observed.sum())
    number = min(max(round(fraction * observed), min(MIN_HELD_OUT, observed // 10), 1), observed - 1)
    held_out = torch.zeros(draw.numel(), dtype=torch.bool)
    held_out[draw.flatten().argsort()[:number]] = True
    held_out = held_out.reshape(draw.shape).to(problem.y.device)
    return (
        replace(problem, observed=problem.observed & ~held_out),
        replace(problem, observed=problem.observed & held_out),
    )


def spawn_generator(problem: Problem, seeds: torch.Generator) -> torch.Generator:
    """Return a generator on the device of the data, seeded by another one."""
    seed = int(torch.randint(2**31, (), generator=seeds))
    return torch.Generator(problem.y.device).manual_seed(seed)
