"""Frames that are reduced to their mean before it is restored."""

from __future__ import annotations

from dataclasses import replace

from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.run.block_report import motion_record
from napari_dip.run.provenance import input_record
from napari_dip.run.recipe import Recipe


class Reduction:
    """What is fitted instead of the data, where the operator reduces them.

    Parameters
    ----------
    observation : Observation
        The data.
    recipe : Recipe
        What to do with them.

    Attributes
    ----------
    observation : Observation
        The data of the fit.
    recipe : Recipe
        The recipe of the fit.

    Raises
    ------
    ObservationError
        If the data lack what the operator needs.
    SettingsError
        If the recipe has a noise of its own, which would be that of the data.
    """

    def __init__(self, observation: Observation, recipe: Recipe) -> None:
        self._given, self._recipe = observation, recipe
        self.recipe = reduced_recipe(recipe)
        self.observation, self._motion = recipe.operator.reduce(observation)

    def complete(self, result: Result) -> Result:
        """Return the result of the fit as that of the data that were given."""
        if self.recipe is self._recipe:
            return result
        found = result.provenance
        provenance = replace(
            found,
            recipe=self._recipe.model_dump(mode="json"),
            input=input_record(self._given),
            operator=replace(found.operator, motion=(motion_record(self._motion),)),
        )
        return replace(result, provenance=provenance)


def reduced_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe for the data that the operator reduces to: itself, if it does not.

    Raises
    ------
    SettingsError
        If it has a noise of its own, which would be that of the data.
    """
    operator = recipe.operator.reduced
    if operator is recipe.operator:
        return recipe
    if recipe.noise.kind != "gaussian" or getattr(recipe.noise, "sigma", None) is not None:
        raise SettingsError(
            f"the operator '{recipe.operator.kind}' measures the noise where frames differ: leave"
            " noise.kind at gaussian, and noise.sigma at automatic",
            setting="noise.sigma" if recipe.noise.kind == "gaussian" else "noise.kind",
        )
    return recipe.model_copy(update={"operator": operator})
