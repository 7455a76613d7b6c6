"""Frames that are reduced to their mean before it is restored."""

from __future__ import annotations

from dataclasses import replace

from napari_dip.core.errors import SettingsError
from napari_dip.core.observation import Observation
from napari_dip.core.result import Result
from napari_dip.physics.stripes import remove_stripes
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
    note : str
        What was found on the way, for the summary.

    Raises
    ------
    ObservationError
        If the data lack what the operator needs.
    SettingsError
        If the recipe has settings that suit the data only, and not what they are reduced to.
    """

    def __init__(self, observation: Observation, recipe: Recipe) -> None:
        self._given, self._recipe = observation, recipe
        self.recipe, self.note = reduced_recipe(recipe), ""
        if self.recipe is not recipe:
            observation, stripes = remove_stripes(observation, recipe.noise.stripes)
            self.note = stripes.note if stripes else ""
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
            noise=replace(found.noise, source="scatter of the frames"),
            operator=replace(found.operator, motion=(motion_record(self._motion),)),
        )
        return replace(result, provenance=provenance)


def reduced_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe for the data that the operator reduces to: itself, if it does not.

    Raises
    ------
    SettingsError
        If it has settings that suit the data only, and not what they are reduced to.
    """
    operator, noise = recipe.operator.reduced, recipe.noise
    if operator is recipe.operator:
        return recipe
    sigma = getattr(noise, "sigma", None)
    for name, is_set, instead in (
        ("noise.kind", noise.kind != "gaussian", "leave it at gaussian: it is measured"),
        ("noise.sigma", sigma is not None, "leave it at automatic: it is measured where frames differ"),
        ("noise.censored", noise.censored, "mask what is saturated"),
        ("stack.joint_axes", "T" in recipe.stack.joint_axes, "choose none, or Z"),
        ("signal.kind", recipe.signal.kind != "none", "choose none"),
    ):
        if is_set:
            raise SettingsError(
                f"{name} does not suit the operator '{recipe.operator.kind}', which makes one image of"
                f" all frames first: {instead}",
                setting=name,
            )
    off = noise.model_copy(update={"stripes": "off"})  # they were those of the frames
    return recipe.model_copy(update={"operator": operator, "noise": off})


def typical_frame(observation: Observation) -> Observation:
    """Return the first frame that has data: what all are reduced to has its size."""
    number = int(observation.observed.any(axis=(1, 2, 3, 4)).argmax())
    return observation.select_planes(slice(number, number + 1), slice(None))
