"""The recipe: every decision about a restoration, in one frozen value."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field

from napari_dip.core.device import Compute
from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings, union_members
from napari_dip.fitting.solver import Solver
from napari_dip.fitting.stopping import AnyStopping
from napari_dip.fitting.stopping.automatic import Automatic
from napari_dip.physics.noise import AnyNoise
from napari_dip.physics.noise.gaussian import Gaussian
from napari_dip.physics.operators import AnyOperator
from napari_dip.physics.operators.identity import Identity
from napari_dip.physics.regularizers import Regularization
from napari_dip.physics.signals import AnySignal
from napari_dip.physics.signals.none import NoSignal
from napari_dip.prior.inputs import AnyInput
from napari_dip.prior.inputs.uniform_noise import UniformNoise
from napari_dip.prior.networks import AnyNetwork
from napari_dip.prior.networks.hourglass import Hourglass
from napari_dip.prior.output_scale import Output
from napari_dip.prior.self_supervision import SelfSupervision
from napari_dip.refine.admm import AdmmSettings
from napari_dip.refine.ensemble import Ensemble
from napari_dip.refine.settings import Refinement
from napari_dip.run.stack import Stack

_MAX_FILE_BYTES = 2**20

Quality = Literal["instant", "fast", "balanced", "best"]

# What each quality changes in a preset. Chosen by measurement: docs/benchmarks/performance.md.
_QUALITY_SETTINGS: Mapping[Quality, Mapping[str, Any]] = {
    "instant": {"solver.method": "patches", "ensemble.size": 1},
    "fast": {
        "network.channels": 16,
        "network.upsampling": "nearest",
        "stopping.patience": 80,
        "stopping.relative_patience": 0.2,
        "solver.max_steps": 1000,
        "ensemble.size": 1,
    },
    "balanced": {},
    "best": {"ensemble.size": 4},
}


class Recipe(Settings):
    """What to restore, how, and when to stop.

    Examples
    --------
    >>> from napari_dip import Recipe
    >>> recipe = Recipe.preset("denoise").with_settings({"noise.sigma": 12.0})
    >>> recipe.noise
    Gaussian(sigma=12.0)
    >>> recipe.replace(noise={"sigma": 8.0}, seed=1).noise.sigma
    8.0
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("noise",)
    title: Annotated[str, Field(max_length=200)] = "Denoise"
    """Name of the task in menus."""
    description: Annotated[str, Field(max_length=1000)] = ""
    """Purpose of the recipe, in one sentence."""
    category: Annotated[str, Field(max_length=100)] = ""
    """The heading above the task in menus."""
    operator: AnyOperator = Identity()
    """How the scene becomes data."""
    noise: AnyNoise = Gaussian()
    """Model of the noise."""
    extrapolate: bool = False
    """Whether what is outside the footprint of the image is inferred, too: wide regions at the border of
    the frame that are NaN or exactly 0, such as the sky off the limb of the Sun; off: they stay as they
    are."""
    hard_data_consistency: bool = False
    """Hard data consistency: the result predicts each observed pixel exactly, and only the rest is
    restored; off: observed pixels are denoised, too."""
    regularization: Regularization = Regularization()
    """Penalties on the scene besides the prior."""
    network: AnyNetwork = Hourglass()
    """The untrained network, whose architecture is the prior."""
    signal: AnySignal = NoSignal()
    """The equation that joins images of several contrasts, restored jointly along T: the network makes
    maps of its parameter and amplitude, and these the images."""
    stack: Stack = Stack()
    """Which planes of a stack are restored jointly."""
    network_input: AnyInput = UniformNoise()
    """The fixed input of the network."""
    self_supervision: SelfSupervision = SelfSupervision()
    """What the network is given of the observation itself."""
    output: Output = Output()
    """How the output of the network becomes data units."""
    solver: Solver = Solver()
    """Optimizer and moving average."""
    stopping: AnyStopping = Automatic()
    """When to stop."""
    admm: AdmmSettings = AdmmSettings()
    """ADMM iterations between the fit and the refinement."""
    refinement: Refinement = Refinement()
    """Processing after the fit."""
    ensemble: Ensemble = Ensemble()
    """Number of fits that are averaged."""
    compute: Compute = Compute()
    """Device, precision and memory."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much of the restoration is taken: 0 gives the data, 1 the restored image. Between them, a part
    of what was removed is added back, and counts in the uncertainty."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of all random numbers: the same seed repeats the run."""

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Names of the auxiliary data that the operator and the network input take from the
        observation.
        """
        return tuple(dict.fromkeys((*self.operator.auxiliary, *self.network_input.auxiliary)))

    @classmethod
    def preset(cls, name: str, **groups: Any) -> Self:
        """Return the preset `name`, with some groups of settings replaced.

        Parameters
        ----------
        name : str
            One of `list_presets`.
        **groups
            As for `replace`.

        Raises
        ------
        SettingsError
            If there is no such preset, or a setting is unknown or out of bounds.

        Examples
        --------
        >>> from napari_dip import Poisson, Recipe
        >>> Recipe.preset("deconvolve", noise=Poisson(gain=1.9)).noise
        Poisson(gain=1.9)
        """
        if name not in list_presets():
            near = difflib.get_close_matches(name, list_presets(), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"presets are {', '.join(list_presets())}"
            raise SettingsError(f"there is no preset '{name}'; {hint}")
        recipe = cls.from_json((_PRESETS / f"{name}.json").read_text("utf-8"), source=name)
        return recipe.replace(**groups) if groups else recipe

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Return the recipe of a JSON file.

        Raises
        ------
        SettingsError
            If it is not a recipe.
        """
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SettingsError(f"{path} is not a recipe: it has {path.stat().st_size:,} bytes")
        return cls.from_json(path.read_text("utf-8-sig", errors="replace"), source=str(path))

    @classmethod
    def from_json(cls, text: str, *, source: str = "recipe") -> Self:
        """Return the recipe of a JSON text; settings that it lacks have their defaults.

        Raises
        ------
        SettingsError
            If the text is not a JSON object, or a setting is unknown or out of bounds.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingsError(f"{source} is not a recipe: line {error.lineno} is not JSON") from error
        except (RecursionError, ValueError) as error:  # ValueError: a number with thousands of digits
            raise SettingsError(
                f"{source} is not a recipe: its nesting, or a number, has no end"
            ) from error
        if not isinstance(values, dict):
            raise SettingsError(f"{source} is not a recipe: it has to be a JSON object of settings")
        return cls.parse(values, source=source)

    def to_json(self, *, indent: int | None = None) -> str:
        """Return all settings as JSON, defaults included: all that is needed to repeat the run."""
        return self.model_dump_json(indent=indent)

    def with_quality(self, quality: Quality) -> Self:
        """Return the same task with another trade-off between quality and time.

        Parameters
        ----------
        quality : {"instant", "fast", "balanced", "best"}
            Instant: similar patches only, no network, for denoising; a megapixel takes half a minute.
            Fast: one fit of a narrower network that stops sooner. Balanced: the recipe as it is. Best:
            the mean of four fits. Settings that the recipe's network or stopping rule lacks are ignored.

        Raises
        ------
        SettingsError
            If there is no such quality.
        """
        if quality not in _QUALITY_SETTINGS:
            raise SettingsError(f"there is no quality '{quality}': choose {', '.join(QUALITIES)}")
        if self.solver.method == "patches":  # there is only one
            return self
        groups = self.model_dump()
        known = {
            name: value
            for name, value in _QUALITY_SETTINGS[quality].items()
            if name.partition(".")[2] in groups[name.partition(".")[0]]
        }
        return self.with_settings(known)

    def replace(self, **groups: Any) -> Self:
        """Return a copy with some groups of settings, or single settings, replaced.

        Parameters
        ----------
        **groups
            A settings object, which replaces the group; a mapping, which is merged into it (another
            `kind` starts with its own defaults); or the value of a single setting.

        Raises
        ------
        SettingsError
            If a setting is unknown or out of bounds.

        Examples
        --------
        >>> from napari_dip import DataFission, Recipe
        >>> recipe = Recipe.preset("denoise").replace(stopping=DataFission(tau=0.3))
        >>> recipe.replace(stopping={"patience": 80}).stopping
        DataFission(patience=80, tau=0.3)
        """
        values = self.model_dump()
        for name, group in groups.items():
            if isinstance(group, Settings):
                values[name] = group.model_dump()
            elif isinstance(group, Mapping) and isinstance(values.get(name), dict):
                values[name] = _merge(values[name], group)
            else:
                values[name] = group
        return self.parse(values, source="recipe")

    def with_settings(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with some settings changed, by dotted names: ``{"noise.sigma": 12.0}``.

        A changed `kind` starts with its own defaults.

        Raises
        ------
        SettingsError
            If a setting is unknown or out of bounds.
        """
        values = self.model_dump()
        for name, value in sorted(changes.items(), key=lambda item: not item[0].endswith(".kind")):
            *path, last = name.split(".")
            group: Any = values
            for part in path:
                group = group.setdefault(part, {})
                if not isinstance(group, dict):
                    raise SettingsError(f"'{name}': '{part}' is a single value and has no settings")
            if last == "kind" and group.get("kind") != value:
                group.clear()
            group[last] = value
        return self.parse(values, source="recipe")


def _merge(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`; another kind starts without them."""
    other_kind = "kind" in changes and changes["kind"] != values.get("kind")
    merged: dict[str, Any] = {} if other_kind else dict(values)
    for name, change in changes.items():
        nested = isinstance(change, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], change) if nested else change
    return merged


QUALITIES: tuple[Quality, ...] = get_args(Quality)


def all_auxiliary() -> tuple[str, ...]:
    """Return the names of the auxiliary data that any operator or network input takes."""
    families = (Recipe.model_fields[name].annotation for name in ("operator", "network_input"))
    kinds = [kind for family in families for kind in union_members(family)]
    return tuple(sorted({name for kind in kinds for name in getattr(kind, "auxiliary", ())}))


_PRESETS = Path(str(resources.files("napari_dip.run"))) / "presets"


def list_presets() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package.

    Examples
    --------
    >>> list_presets()[:2]
    ('adc-map', 'coadd')
    """
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.json")))
