"""Entries for settings: a widget for each field, its tooltip and bounds read from the type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, Lt
from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_dip.core.errors import SettingsError
from napari_dip.core.settings import Settings, ordered_fields, union_members

ACRONYMS = ("psf", "fwhm")


@dataclass(frozen=True, eq=False)
class FormRow:
    """One entry of a form.

    Attributes
    ----------
    entry : ValueWidget
        Its `name` is the setting's, with dots.
    title : str
        Of the group that begins with it, if one does.
    asked : bool
        Whether it is asked of everybody.
    shown : callable
        Whether what it belongs to is chosen.
    """

    entry: ValueWidget[Any]
    title: str
    is_basic: bool
    is_visible: Callable[[], bool]


class SettingsGroup:
    """The entries of one settings class, by name; groups within it are groups again.

    Parameters
    ----------
    model : type of Settings
        What to ask for.
    value : Settings
        What to begin with.
    path : str
        The name of the group itself, and a dot.
    """

    def __init__(self, model: type[Settings], value: Settings, path: str = "") -> None:
        self._model, self._path = model, path
        self._parts: dict[str, SettingsGroup | UnionChoice | ValueWidget[Any]] = {}
        for name, field in ordered_fields(model).items():
            if name == "kind" or field.annotation is str:
                continue  # titles and summaries are the preset's own
            self._parts[name] = _part(path + name, field, getattr(value, name))

    def show(self, value: Settings) -> None:
        """Put other values into the entries."""
        for name, part in self._parts.items():
            _write(part, getattr(value, name))

    def values(self) -> dict[str, Any]:
        """What the person entered, ready for `Settings.parse`."""
        return {name: _read(part) for name, part in self._parts.items()}

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """The widget of the setting called `dotted`."""
        first, _, rest = dotted.partition(".")
        part = self._parts[first]
        return part if isinstance(part, ValueWidget) else part.entry(rest)

    def rows(self, shown: Callable[[], bool] = lambda: True) -> Iterator[FormRow]:
        """Every entry, in order."""
        title = _label(self._path.rstrip(".").rpartition(".")[2])
        for name, part in self._parts.items():
            asked = name in self._model.basic_fields
            match part:
                case SettingsGroup():
                    yield from part.rows(shown)
                case UnionChoice():
                    yield from part.rows(shown, asked=asked)
                case ValueWidget():
                    yield FormRow(part, title, asked, shown)
            title = ""


class UnionChoice:
    """One of several settings classes, and the group of each."""

    def __init__(self, choices: tuple[type[Settings], ...], value: Settings, path: str) -> None:
        models = {choice.model_fields["kind"].default: choice for choice in choices}
        self._models = models
        self._title = _label(path.rstrip(".").rpartition(".")[2])
        self.kind = ComboBox(choices=list(models), value=value.kind, name=f"{path}kind")  # type: ignore[attr-defined]
        self._groups = {
            kind: SettingsGroup(model, value if isinstance(value, model) else model(), path)
            for kind, model in models.items()
        }

    def show(self, value: Settings) -> None:
        """Choose the class of `value`, with its values; the others have their defaults again."""
        for kind, model in self._models.items():
            self._groups[kind].show(value if isinstance(value, model) else model())
        self.kind.value = value.kind  # type: ignore[attr-defined]

    def values(self) -> dict[str, Any]:
        """The chosen class's values, with its kind."""
        return {"kind": self.kind.value, **self._groups[self.kind.value].values()}

    def entry(self, dotted: str) -> ValueWidget[Any]:
        """The widget of the chosen class's setting called `dotted`, or of the choice itself."""
        return self.kind if dotted == "kind" else self._groups[self.kind.value].entry(dotted)

    def rows(self, shown: Callable[[], bool], *, asked: bool) -> Iterator[FormRow]:
        """The choice, and every entry of every class."""
        yield FormRow(self.kind, self._title, asked, shown)
        for kind, group in self._groups.items():
            for row in group.rows(lambda kind=kind: shown() and self.kind.value == kind):  # type: ignore[misc]
                yield FormRow(row.entry, "", row.is_basic, row.is_visible)


class FormRows:
    """Some entries in a layout: the labels in one column, and only what is chosen.

    Parameters
    ----------
    layout : QFormLayout
        Gets the rows.
    rows : list of Row
        What to show.
    before : QWidget, optional
        Where they end; else they are the last.
    titled : bool
        Whether each group begins with its name.
    """

    def __init__(
        self,
        layout: QFormLayout,
        rows: list[FormRow],
        *,
        before: QWidget | None = None,
        titled: bool = False,
    ) -> None:
        self._layout, self._rows = layout, rows
        self._at = layout.rowCount() if before is None else layout.getWidgetPosition(before)[0]
        group = ""
        for row in rows:
            entry, is_choice = row.entry, row.entry.name.endswith(".kind")
            begins = titled and "." in entry.name and entry.name.partition(".")[0] != group
            if begins:
                group = entry.name.partition(".")[0]
            if begins and not (is_choice and row.title == _label(group)):
                self._add(QLabel(f"<b>{_label(group)}</b>"))
            label = row.title if is_choice else entry.label
            if begins and is_choice:
                label = f"<b>{label}</b>"
            self._add("" if isinstance(entry, CheckBox) else label, entry.native)
        self.refresh()

    def refresh(self) -> None:
        """Show what is chosen."""
        for row in self._rows:
            self._layout.setRowVisible(row.entry.native, row.is_visible())

    def _add(self, *parts: Any) -> None:
        self._layout.insertRow(self._at, *parts)
        self._at += 1


class JsonLineEdit(LineEdit):
    """A line for lists of numbers, written as JSON."""

    def values(self) -> Any:
        """The lists, or None where nothing is written."""
        if not self.value.strip():
            return None
        try:
            return json.loads(self.value)
        except json.JSONDecodeError as error:
            raise SettingsError(
                f"{self.label}: '{self.value}' is no list of numbers; write it like [[0, 0], [1.5, -2]]",
                setting=self.name,
            ) from error


def _read(part: SettingsGroup | UnionChoice | ValueWidget[Any]) -> Any:
    if isinstance(part, SettingsGroup | UnionChoice | JsonLineEdit):
        return part.values()
    # Numbers are text until the settings parse them; nothing written means automatic.
    return part.value if part.value != "" else None


def _write(part: SettingsGroup | UnionChoice | ValueWidget[Any], value: Any) -> None:
    if isinstance(part, SettingsGroup | UnionChoice):
        part.show(value)
    elif isinstance(part, LineEdit):
        part.value = _written(value)
    else:
        part.value = value


def _written(value: Any) -> str:
    """A number, or lists of them, as a line of text; nothing for automatic."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, int | float) else json.dumps(value)


def _part(path: str, field: FieldInfo, value: Any) -> SettingsGroup | UnionChoice | ValueWidget[Any]:
    kinds = union_members(field.annotation)
    if len(kinds) > 1:
        choice = UnionChoice(kinds, value, f"{path}.")
        choice.kind.tooltip = _sentence(field)
        return choice
    if kinds:
        return SettingsGroup(kinds[0], value, f"{path}.")
    entry = _single(field, value)
    entry.name, entry.label = path, _label(path.rpartition(".")[2])
    if isinstance(entry, CheckBox):
        entry.text = entry.label
    entry.tooltip = _sentence(field)
    return entry


def _label(name: str) -> str:
    return name.upper() if name in ACRONYMS else name.replace("_", " ").capitalize()


def _sentence(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _single(field: FieldInfo, value: Any) -> ValueWidget[Any]:
    """The widget of a field that is one value."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ComboBox(choices=list(get_args(kind)), value=value)
    if kind is bool:
        return CheckBox(value=value)
    if kind is int:
        low, high = _limits(field)
        return SpinBox(value=value, min=low, max=high)
    if any(get_origin(part) is tuple for part in get_args(kind)):
        lists = JsonLineEdit(value=_written(value))
        lists.native.setPlaceholderText("automatic")
        return lists
    if kind is float or {int, float} & set(_alternatives(kind)):
        # A line of text, where a spin box would round 1e-7 to nothing.
        line = LineEdit(value=_written(value))
        line.native.setPlaceholderText("automatic" if kind is not float else "a number")
        return line
    raise TypeError(f"no widget for a setting of type {kind}")


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types in a union such as ``float | None``, less what annotates them."""
    return tuple(get_args(part)[0] if get_origin(part) is Annotated else part for part in get_args(kind))


def _limits(field: FieldInfo) -> tuple[int, int]:
    low, high = -(2**31), 2**31 - 1
    for bound in field.metadata:
        match bound:
            case Ge(ge=int(limit)):
                low = limit
            case Le(le=int(limit)) | Lt(lt=int(limit)):
                high = min(high, limit)
    return low, high
