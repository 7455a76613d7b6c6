"""What is tried, one after another, when a fit fails its own check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from napari_dip.core.torch_import import torch
from napari_dip.run.assessment import FitMeasures, is_noisy
from napari_dip.run.recipe import Recipe


@dataclass(frozen=True)
class Attempt:
    """A recipe for one fit, and what the summary says of it if it is used.

    Attributes
    ----------
    recipe : Recipe
        The recipe to fit by.
    note : str
        What was changed and why; empty for the recipe as it is.
    cures_noise : bool
        Whether it may help against noise that is turned upside down, or only against divergence.
    """

    recipe: Recipe
    note: str = ""
    cures_noise: bool = True


class Attempts:
    """The attempts at one fit.

    Attributes
    ----------
    current : Attempt
        The one to make.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.current, *self._others = attempts(recipe, device)

    def next(self, measures: FitMeasures, *, diverged: bool = False) -> bool:
        """Return whether the fit failed its check in a way that another attempt may cure, which is now
        the current one.

        One that diverged after it had an image is only repeated in another precision.
        """
        while self._others:
            attempt = self._others[0]
            cures_noise = attempt.cures_noise and is_noisy(measures)
            cures_divergence = diverged and not attempt.cures_noise
            if not measures.is_finite or cures_noise or cures_divergence:
                self.current = self._others.pop(0)
                return True
            if attempt.cures_noise or not is_noisy(measures):
                return False
            self._others.pop(0)
        return False


def attempts(recipe: Recipe, device: torch.device) -> Iterator[Attempt]:
    """Yield the recipe as it is, then in float32, with masked pixels, and with the plain prior.

    The last two need no statistics of the noise: neither do they draw noise, nor stop by noise that was
    drawn.
    """
    yield Attempt(recipe)
    if recipe.compute.resolve_precision(device) == torch.bfloat16:
        recipe = recipe.with_settings({"compute.precision": "float32"})
        yield Attempt(recipe, "fitted in float32, because it diverged in bfloat16", cures_noise=False)
    methods = {"masked": "masked pixels", "none": "the plain prior"}
    if recipe.network.input_downsampling > 1:  # the data do not fit into the network input
        del methods["masked"]
    for method, name in methods.items():
        if recipe.self_supervision.method in ("auto", "recorrupted", method):
            changes = {"self_supervision.method": method, "stopping.kind": "hold-out"}
            note = f"fitted again with {name}, because the first fit failed its check"
            yield Attempt(recipe.with_settings(changes), note)
