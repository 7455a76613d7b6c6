"""The frozen, strict base class of all settings, and the discovery of the members of a union."""

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
    """Immutable values, each with its bounds in the type and a sentence, with the unit in brackets,
    below.

    That sentence is the `description` of the field: the tooltip, the command line and the documentation
    read it there. Unknown keys are errors: a mistyped setting must not vanish.
    """

    basic_fields: ClassVar[tuple[str, ...]] = ()
    """The settings that are always shown; the others are advanced."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Return the validated `values`; an error names `source` as their origin.

        Raises
        ------
        SettingsError
            In one sentence: which setting, and what is wrong with it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            sentence, setting = _sentence(error, cls, source)
            raise SettingsError(sentence, setting=setting) from error

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """The settings that differ from their defaults: pydantic's `repr` shows no others."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name != "kind" and value != field.get_default(call_default_factory=True):
                yield name, value


def tagged_union(base: type[Settings], package: str | None = None) -> Any:
    """Return all concrete subclasses of `base`, as a union discriminated by their `kind`.

    A member is a subclass that declares `kind` as a literal. With `package`, each module of that
    package without a leading underscore is imported first: a new member only has to be there.
    """
    if package is not None:
        path = importlib.import_module(package).__path__
        for module in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
            if not module.name.startswith("_"):
                importlib.import_module(f"{package}.{module.name}")
    members = tuple(sorted(_leaves(base), key=lambda member: member.model_fields["kind"].default))
    if len(members) == 1:  # pydantic refuses a discriminator on a union of one
        return members[0]
    return Annotated[Union[members], Discriminator("kind")]  # noqa: UP007 - built at run time


def union_members(annotation: Any) -> tuple[type[Settings], ...]:
    """Return the settings classes that `annotation` admits, in the order of menus."""
    if isinstance(annotation, type):
        return (annotation,) if issubclass(annotation, Settings) else ()
    inner = get_args(annotation)[:1] if get_origin(annotation) is Annotated else get_args(annotation)
    return tuple(member for part in inner for member in union_members(part))


def ordered_fields(model: type[Settings]) -> dict[str, FieldInfo]:
    """Return the settings of `model` by name, its own before inherited ones."""
    family = {name for base in model.__mro__[1:] for name in getattr(base, "model_fields", {})}
    return dict(sorted(model.model_fields.items(), key=lambda item: item[0] in family))


def iter_fields(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield each setting of `model` as (dotted name, field), those of all members of its unions."""
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
            other = "; it may belong to another version of napari-dip"
            hint = f"; did you mean '{near[0]}'?" if near else other
            hint = " of the kind that is selected" if name in known else hint
            sentence = f"there is no setting '{name}'{hint}"
        case "union_tag_not_found" | "union_tag_invalid":
            kinds = first["ctx"].get("expected_tags", "one of the documented ones")
            sentence = f"setting '{name}' needs a kind: {kinds}"
        case "model_type" | "model_attributes_type":
            sentence = f"'{name}' is a group of settings, it cannot be {_short(first['input'])}"
        case _:
            sentence = f"setting '{name}' is {_short(first['input'])}: {first['msg'].lower()}"
    return f"{source}: {sentence}", name


def _short(value: Any) -> str:
    """A value as it is written, shortened if it is long."""
    return reprlib.repr(value)


def _without_kinds(location: tuple[int | str, ...], known: set[str]) -> str:
    """`location` as a dotted name, without the union tags that pydantic inserts."""
    name = ""
    for position, part in enumerate(location):
        longer = f"{name}.{part}" if name else str(part)
        if longer in known or position == len(location) - 1:
            name = longer
    return name
