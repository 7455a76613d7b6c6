"""Entries for single settings: a widget for each field, with tooltip and bounds from its type."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, Lt
from magicgui.widgets import CheckBox, ComboBox, LineEdit, SpinBox
from magicgui.widgets.bases import ValueWidget
from pydantic.fields import FieldInfo

from napari_dip.core.errors import SettingsError

LABEL_WORDS = {
    "admm": "ADMM",
    "ema": "EMA",
    "fwhm": "FWHM",
    "gb": "[GB]",
    "iter": "iterations",
    "l1": "L1",
    "mapnet": "MapNet",
    "num": "number of",
    "psf": "PSF",
}


class JsonLineEdit(LineEdit):
    """A line for lists of numbers, written as JSON; around a single list brackets may be left out."""

    def values(self) -> Any:
        """Return the lists, or None for an empty line.

        Raises
        ------
        SettingsError
            If the text is not JSON.
        """
        text = self.value.strip()
        if not text:
            return None
        for form in (text, f"[{text}]"):
            try:
                return json.loads(form)
            except json.JSONDecodeError:
                continue
        raise SettingsError(
            f"{self.label}: '{self.value}' is not a list of numbers; write it like"
            " 1, 2.5, 4 or [[0, 0], [1.5, -2]]",
            setting=self.name,
        )


def make_entry(name: str, field: FieldInfo, value: Any) -> ValueWidget[Any]:
    """Return the widget of a setting that is a single value; `name` is its dotted name."""
    entry = _widget(field, value)
    entry.name, entry.label = name, label_text(name.rpartition(".")[2])
    if isinstance(entry, CheckBox):
        entry.text = entry.label
    entry.tooltip = tooltip_text(field)
    return entry


def read_entry(entry: ValueWidget[Any]) -> Any:
    """Return what was entered; None for an empty line, which stands for automatic."""
    if isinstance(entry, JsonLineEdit):
        return entry.values()
    return entry.value if entry.value != "" else None  # numbers are text until the settings parse them


def write_entry(entry: ValueWidget[Any], value: Any) -> None:
    """Show a value in its widget."""
    entry.value = _to_text(value) if isinstance(entry, LineEdit) else value


def label_text(name: str) -> str:
    """Return the label of a setting, from its name."""
    words = " ".join(LABEL_WORDS.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:]


def tooltip_text(field: FieldInfo) -> str:
    """Return the sentence that describes a setting, on one line."""
    return " ".join((field.description or "").split())


def _widget(field: FieldInfo, value: Any) -> ValueWidget[Any]:
    kind = field.annotation
    if get_origin(kind) is Literal:
        return ComboBox(choices=list(get_args(kind)), value=value)
    if kind is bool:
        return CheckBox(value=value)
    if kind is int:
        low, high = _limits(field)
        return SpinBox(value=value, min=low, max=high)
    if any(get_origin(part) is tuple for part in get_args(kind)):
        lists = JsonLineEdit(value=_to_text(value))
        lists.native.setPlaceholderText("automatic")
        return lists
    if kind is float or {int, float} & set(_alternatives(kind)):
        # A line of text, because a spin box would round 1e-7 to 0.
        line = LineEdit(value=_to_text(value))
        line.native.setPlaceholderText("automatic" if kind is not float else "a number")
        return line
    raise TypeError(f"no widget for a setting of type {kind}")


def _to_text(value: Any) -> str:
    """Return a number, or lists of numbers, as a line of text; an empty line for None."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.15g}"
    is_nested = any(isinstance(part, list | tuple) for part in value)
    return json.dumps(value) if is_nested else ", ".join(f"{number:.15g}" for number in value)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the types in a union such as ``float | None``, without their annotations."""
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
