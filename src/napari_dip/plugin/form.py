"""Forms made from settings: a widget for each field, its tooltip and bounds read from the type."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, Lt
from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit, SpinBox
from magicgui.widgets.bases import Widget
from pydantic.fields import FieldInfo

from napari_dip.errors import SettingsError
from napari_dip.settings import Settings, fields, members

ACRONYMS = ("psf", "fwhm")


class SettingsForm(Container[Widget]):
    """The fields of one settings class, nested classes and unions included.

    Parameters
    ----------
    model : type of Settings
        What to ask for.
    value : Settings
        What to begin with.
    only : collection of str, optional
        Which fields of `model`; all where it is left out.
    """

    def __init__(
        self,
        model: type[Settings],
        value: Settings,
        *,
        only: Collection[str] | None = None,
    ) -> None:
        super().__init__(labels=True)
        self.margins = (0, 0, 0, 0)
        self._entries: dict[str, Widget] = {}
        for name, field in fields(model).items():
            if name == "kind" or (only is not None and name not in only):
                continue
            if field.annotation is str:
                continue  # titles and summaries are the preset's own
            entry = _entry(name, field, getattr(value, name))
            self._entries[name] = entry
            self.append(entry)

    def values(self) -> dict[str, Any]:
        """What the person entered, ready for `Settings.parse`."""
        return {name: _read(entry) for name, entry in self._entries.items()}

    def entry(self, dotted: str) -> Widget:
        """The widget of the setting called `dotted`."""
        first, _, rest = dotted.partition(".")
        entry = self._entries[first]
        return entry.entry(rest) if rest and isinstance(entry, SettingsForm | _Choice) else entry


class _Choice(Container[Widget]):
    """One of several settings classes, and the form of the chosen one."""

    def __init__(self, choices: tuple[type[Settings], ...], value: Settings) -> None:
        super().__init__(labels=False)
        self.margins = (0, 0, 0, 0)
        self._models = {choice.model_fields["kind"].default: choice for choice in choices}
        self._kind = ComboBox(choices=list(self._models), value=value.kind)  # type: ignore[attr-defined]
        self._forms = {
            kind: SettingsForm(model, value if isinstance(value, model) else model())
            for kind, model in self._models.items()
        }
        self.extend([self._kind, *self._forms.values()])
        self._kind.changed.connect(self._show)
        self._show()

    def values(self) -> dict[str, Any]:
        """The chosen class's values, with its kind."""
        return {"kind": self._kind.value, **self._forms[self._kind.value].values()}

    def entry(self, dotted: str) -> Widget:
        """The widget of the chosen class's setting called `dotted`, or of the choice itself."""
        return self._kind if dotted == "kind" else self._forms[self._kind.value].entry(dotted)

    def _show(self) -> None:
        for kind, form in self._forms.items():
            form.visible = kind == self._kind.value


class _Lists(LineEdit):
    """A line for lists of numbers, written as JSON."""

    def values(self) -> Any:
        """The lists, or None where nothing is written."""
        if not self.value.strip():
            return None
        try:
            return json.loads(self.value)
        except json.JSONDecodeError as error:
            raise SettingsError(
                f"{self.label}: '{self.value}' is no list of numbers; write it like [[0, 0], [1.5, -2]]"
            ) from error


def _read(entry: Widget) -> Any:
    if isinstance(entry, SettingsForm | _Choice | _Lists):
        return entry.values()
    # Numbers are text until the settings parse them; nothing written means automatic.
    value = entry.value  # type: ignore[attr-defined]
    return value if value != "" else None


def _entry(name: str, field: FieldInfo, value: Any) -> Widget:
    kinds = members(field.annotation)
    if len(kinds) > 1:
        entry: Widget = _Choice(kinds, value)
    elif kinds:
        entry = SettingsForm(kinds[0], value)
    else:
        entry = _single(field, value)
    entry.label = name.upper() if name in ACRONYMS else name.replace("_", " ").capitalize()
    if isinstance(entry, CheckBox):
        entry.text = entry.label  # magicgui writes a check box's label beside the box
    entry.tooltip = " ".join((field.description or "").split())
    return entry


def _single(field: FieldInfo, value: Any) -> Widget:
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
        lists = _Lists(value="" if value is None else json.dumps(value))
        lists.native.setPlaceholderText("automatic")
        return lists
    if kind is float or {int, float} & set(_alternatives(kind)):
        # A line of text, where a spin box would round 1e-7 to nothing.
        line = LineEdit(value="" if value is None else f"{value:g}")
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
