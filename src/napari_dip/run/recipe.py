"""The recipe: every decision a person makes about a restoration, in one frozen value."""

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

_MAX_FILE_BYTES = 2**20  # bytes of a recipe's file

Quality = Literal["fast", "balanced", "best"]

# What each level changes of a preset. Chosen by measurement: docs/performance.md.
_QUALITY_SETTINGS: Mapping[Quality, Mapping[str, Any]] = {
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
    >>> recipe = Recipe.preset("denoise").override({"noise.sigma": 12.0})
    >>> recipe.noise.sigma
    12.0
    """

    basic_fields: ClassVar[tuple[str, ...]] = ("noise",)
    title: Annotated[str, Field(max_length=200)] = "Denoise"
    """Name of the task, as menus show it."""
    description: Annotated[str, Field(max_length=1000)] = ""
    """What the recipe is for, in one sentence."""
    operator: AnyOperator = Identity()
    """How the scene becomes data."""
    noise: AnyNoise = Gaussian()
    """What is known about the noise."""
    hard_data_consistency: bool = False
    """Return an image that agrees exactly with every observed pixel, and fill in the rest only; off:
    denoise them as well."""
    regularization: Regularization = Regularization()
    """What else is known of the scene."""
    network: AnyNetwork = Hourglass()
    """The untrained network whose shape is the prior."""
    stack: Stack = Stack()
    """Which planes of a stack are restored together."""
    network_input: AnyInput = UniformNoise()
    """What the network is given."""
    self_supervision: SelfSupervision = SelfSupervision()
    """What the network is given of the observation itself, beside its code."""
    output: Output = Output()
    """How the network's numbers become data units."""
    solver: Solver = Solver()
    """Optimiser and running average."""
    stopping: AnyStopping = Automatic()
    """When to stop."""
    admm: AdmmSettings = AdmmSettings()
    """Rounds that bring the data back in, between the fit and the second look."""
    refinement: Refinement = Refinement()
    """The second look at the data, after the fit."""
    ensemble: Ensemble = Ensemble()
    """How many fits are averaged."""
    compute: Compute = Compute()
    """Device and precision."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of every random number: the same seed repeats the run."""

    @property
    def auxiliary(self) -> tuple[str, ...]:
        """Names of the companions that the operator and the code take from the observation."""
        return tuple(dict.fromkeys((*self.operator.auxiliary, *self.network_input.auxiliary)))

    @classmethod
    def preset(cls, name: str) -> Self:
        """The recipe called `name`.

        Raises
        ------
        SettingsError
            If there is none of that name.
        """
        if name not in list_presets():
            near = difflib.get_close_matches(name, list_presets(), n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(list_presets())}"
            raise SettingsError(f"there is no preset '{name}'; {hint}")
        return cls.from_json((_PRESETS / f"{name}.json").read_text("utf-8"), source=name)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """A recipe from a file of JSON.

        Raises
        ------
        SettingsError
            If it is no recipe.
        """
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SettingsError(f"{path} is no recipe: it has {path.stat().st_size:,} bytes")
        return cls.from_json(path.read_text("utf-8-sig", errors="replace"), source=str(path))

    @classmethod
    def from_json(cls, text: str, *, source: str = "recipe") -> Self:
        """A recipe from its JSON; settings left out have their defaults.

        Raises
        ------
        SettingsError
            If the text is no JSON object, or a setting is unknown or out of bounds.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise SettingsError(f"{source} is no recipe: line {error.lineno} is not JSON") from error
        except (RecursionError, ValueError) as error:  # the second of numbers of thousands of digits
            raise SettingsError(
                f"{source} is no recipe: it is nested, or counts, without end"
            ) from error
        if not isinstance(values, dict):
            raise SettingsError(f"{source} is no recipe: a JSON object of settings is needed")
        return cls.parse(values, source=source)

    def to_json(self, *, indent: int | None = None) -> str:
        """Every setting as JSON, defaults too: what a file or a colleague needs to repeat the run."""
        return self.model_dump_json(indent=indent)

    def with_quality(self, quality: Quality) -> Self:
        """The same task at another speed: ``"fast"``, ``"balanced"`` (as it is) or ``"best"``.

        Fast is a narrower network that stops sooner, fitted once; best is the mean of four fits.
        Settings that the recipe's network or stop does not have are left out.

        Raises
        ------
        SettingsError
            If there is no such level.
        """
        if quality not in _QUALITY_SETTINGS:
            raise SettingsError(f"there is no level '{quality}'; there are {', '.join(QUALITIES)}")
        groups = self.model_dump()
        known = {
            name: value
            for name, value in _QUALITY_SETTINGS[quality].items()
            if name.partition(".")[2] in groups[name.partition(".")[0]]
        }
        return self.with_settings(known)

    def with_settings(self, changes: Mapping[str, Any]) -> Self:
        """A copy with some settings changed, named by dots: ``{"noise.sigma": 12.0}``.

        Changing a `kind` starts that family member from its own defaults.

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
                    raise SettingsError(f"'{name}': '{part}' is a single value, it holds no settings")
            if last == "kind" and group.get("kind") != value:
                group.clear()
            group[last] = value
        return self.parse(values, source="recipe")


QUALITIES: tuple[Quality, ...] = get_args(Quality)


def all_auxiliary() -> tuple[str, ...]:
    """Names of the companions that any operator or code can take."""
    families = (Recipe.model_fields[name].annotation for name in ("operator", "code"))
    kinds = [kind for family in families for kind in union_members(family)]
    return tuple(sorted({name for kind in kinds for name in getattr(kind, "extras", ())}))


_PRESETS = Path(str(resources.files("napari_dip.run"))) / "presets"


def list_presets() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.json")))
