"""The frozen, strict base of all settings, and the discovery of a family's members."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import reprlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, ValidationError
from pydantic.fields import FieldInfo

from napari_dip.core.errors import SettingsError


class Settings(BaseModel):
    """Immutable values with their bounds in the type and one sentence, unit in brackets, under each.

    That sentence is the field's `description`: the tooltip, the `--set` help and the docs page all
    read it there. Unknown keys are refused: a mistyped setting must not vanish.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ()
    """The settings that everybody is asked for; the others are for who looks for them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Validate `values`; `source` names where they came from in the error.

        Raises
        ------
        SettingsError
            In one sentence: which setting, what is wrong, what was given.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            sentence, setting = _sentence(error, cls, source)
            raise SettingsError(sentence, setting=setting) from error


def tagged_union(base: type[Settings], package: str | None = None) -> Any:
    """All concrete members of the family `base`, as a union told apart by their `kind`.

    A member is a subclass that declares `kind` as a literal. With `package`, every module of that
    package is imported first, but those with a leading underscore: being there is all that a new
    member has to do.
    """
    if package is not None:
        path = importlib.import_module(package).__path__
        for module in sorted(pkgutil.iter_modules(path), key=lambda found: found.name):
            if not module.name.startswith("_"):
                importlib.import_module(f"{package}.{module.name}")
    members = tuple(sorted(_leaves(base), key=lambda member: member.model_fields["kind"].default))
    if len(members) == 1:  # pydantic refuses a discriminator on a union of one
        return members[0]
    return Annotated[Union[members], Discriminator("kind")]  # noqa: UP007 - built at run time


def union_members(annotation: Any) -> tuple[type[Settings], ...]:
    """The settings classes that `annotation` admits, in the order a menu shows them."""
    if isinstance(annotation, type):
        return (annotation,) if issubclass(annotation, Settings) else ()
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return tuple(member for part in inner for member in union_members(part))


def ordered_fields(model: type[Settings]) -> dict[str, FieldInfo]:
    """The settings of `model` by name, its own before those that its family shares."""
    family = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return dict(sorted(model.model_fields.items(), key=lambda item: item[0] in family))


def iter_fields(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting below `model` as (dotted name, field), families' members one after another."""
    for name, field in ordered_fields(model).items():
        dotted = f"{prefix}{name}"
        yield dotted, field
        for member in union_members(field.annotation):
            yield from iter_fields(member, f"{dotted}.")


def _leaves(base: type[Settings]) -> Iterator[type[Settings]]:
    for child in base.__subclasses__():
        if "kind" in child.__annotations__:
            yield child
        yield from _leaves(child)


def _sentence(error: ValidationError, model: type[Settings], source: str) -> tuple[str, str]:
    """What is wrong, and the name of the setting."""
    first = error.errors(include_url=False)[0]
    known = {name for name, _ in iter_fields(model)}
    name = _without_kinds(first["loc"], known)
    match first["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "; it may be of a newer napari-dip"
            hint = " with the kind that is chosen" if name in known else hint
            sentence = f"there is no setting '{name}'{hint}"
        case "union_tag_not_found" | "union_tag_invalid":
            kinds = first["ctx"].get("expected_tags", "as 'presets NAME --json' prints them")
            sentence = f"setting '{name}' needs a kind: {kinds}"
        case "model_type" | "model_attributes_type":
            sentence = f"'{name}' is a group of settings, it cannot be {_short(first['input'])}"
        case _:
            sentence = f"setting '{name}' is {_short(first['input'])}: {first['msg'].lower()}"
    return f"{source}: {sentence}", name


def _short(value: Any) -> str:
    """A value as it is written, the end of a long one left out."""
    return reprlib.repr(value)


def _without_kinds(location: tuple[int | str, ...], known: set[str]) -> str:
    """`location` as a dotted name, less the union tags that pydantic puts between the parts."""
    name = ""
    for position, part in enumerate(location):
        longer = f"{name}.{part}" if name else str(part)
        if longer in known or position == len(location) - 1:
            name = longer
    return name
