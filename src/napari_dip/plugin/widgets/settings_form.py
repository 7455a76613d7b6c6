"""Groups of entries for settings classes, and for unions of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from magicgui.widgets import ComboBox
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo

from napari_dip.core.settings import Settings, ordered_fields, union_members
from napari_dip.plugin.widgets.entries import (
    label_text,
    make_entry,
    read_entry,
    tooltip_text,
    write_entry,
)


@dataclass(frozen=True, eq=False)
class FormRow:
    """One entry of a form.

    Attributes
    ----------
    entry : ValueWidget
        Its `name` is the dotted name of the setting.
    title : str
        Title of the group that starts with this entry, or empty.
    is_basic : bool
        Whether it is among the entries that everybody sees.
    is_visible : callable
        Returns whether the union member that it belongs to is selected.
    """

    entry: ValueWidget[Any]
    title: str
    is_basic: bool
    is_visible: Callable[[], bool]


class SettingsGroup:
    """The entries of one settings class, by name; its nested classes are groups again.

    Parameters
    ----------
    model : type of Settings
        The class.
    value : Settings
        Initial values.
    path : str
        Dotted name of the group, with a dot at the end.
    """

    def __init__(self, model: type[Settings], value: Settings, path: str = "") -> None:
        self._model, self._path = model, path
        self._parts: dict[str, SettingsGroup | UnionChoice | ValueWidget[Any]] = {}
        for name, field in ordered_fields(model).items():
            if name == "kind" or field.annotation is str:
                continue  # titles and descriptions belong to the preset
            self._parts[name] = _make_part(path + name, field, getattr(value, name))

    def show(self, value: Settings) -> None:
        """Put other values into the entries."""
        for name, part in self._parts.items():
            if isinstance(part, ValueWidget):
                write_entry(part, getattr(value, name))
            else:
                part.show(getattr(value, name))

    def values(self) -> dict[str, Any]:
        """Return what the user entered, ready for `Settings.parse`."""
        return {
            name: read_entry(part) if isinstance(part, ValueWidget) else part.values()
            for name, part in self._parts.items()
        }

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """Return the widget of the setting with this dotted name."""
        first, _, rest = dotted.partition(".")
        part = self._parts[first]
        return part if isinstance(part, ValueWidget) else part.entry(rest)

    def rows(self, is_visible: Callable[[], bool] = lambda: True) -> Iterator[FormRow]:
        """Yield every entry, in order."""
        title = _title(self._path)
        for name, part in self._parts.items():
            is_basic = name in self._model.basic_fields
            match part:
                case SettingsGroup():
                    yield from part.rows(is_visible)
                case UnionChoice():
                    yield from part.rows(is_visible, is_basic=is_basic)
                case ValueWidget():
                    yield FormRow(part, title, is_basic, is_visible)
            title = ""


class UnionChoice:
    """A choice of one of several settings classes, and the group of entries of each."""

    def __init__(self, choices: tuple[type[Settings], ...], value: Settings, path: str) -> None:
        models = {choice.model_fields["kind"].default: choice for choice in choices}
        self._models = models
        self._title = _title(path)
        self.kind = ComboBox(choices=list(models), value=value.kind, name=f"{path}kind")  # type: ignore[attr-defined]
        self._groups = {
            kind: SettingsGroup(model, value if isinstance(value, model) else model(), path)
            for kind, model in models.items()
        }

    def show(self, value: Settings) -> None:
        """Select the class of `value`, and show its values; the other classes get their defaults."""
        for kind, model in self._models.items():
            self._groups[kind].show(value if isinstance(value, model) else model())
        self.kind.value = value.kind  # type: ignore[attr-defined]

    def values(self) -> dict[str, Any]:
        """Return the kind and the values of the selected class."""
        return {"kind": self.kind.value, **self._groups[self.kind.value].values()}

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """Return the widget of a setting of the selected class, or of the choice itself."""
        return self.kind if dotted == "kind" else self._groups[self.kind.value].entry(dotted)

    def rows(self, is_visible: Callable[[], bool], *, is_basic: bool) -> Iterator[FormRow]:
        """Yield the choice, and every entry of every class."""
        yield FormRow(self.kind, self._title, is_basic, is_visible)
        for kind, group in self._groups.items():
            for row in group.rows(lambda kind=kind: is_visible() and self.kind.value == kind):  # type: ignore[misc]
                yield FormRow(row.entry, "", row.is_basic, row.is_visible)


def _make_part(
    path: str, field: FieldInfo, value: Any
) -> SettingsGroup | UnionChoice | ValueWidget[Any]:
    kinds = union_members(field.annotation)
    if len(kinds) > 1:
        choice = UnionChoice(kinds, value, f"{path}.")
        choice.kind.tooltip = tooltip_text(field)
        return choice
    return SettingsGroup(kinds[0], value, f"{path}.") if kinds else make_entry(path, field, value)


def _title(path: str) -> str:
    return label_text(path.rstrip(".").rpartition(".")[2])
