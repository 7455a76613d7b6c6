"""The rows for the axes of an image, and for which of its planes are restored jointly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit
from superqt.utils import signals_blocked

from napari_dip.core.axes import CANONICAL_AXES
from napari_dip.plugin.layers.metadata import axes_of, finest

if TYPE_CHECKING:
    from napari.layers import Image

AXIS_NOUNS = {"T": "times", "C": "channels", "Z": "depths"}
STACK_AXES = "TZ"  # channels are always restored jointly


class AxesEditor:
    """A line for the axis letters, their meaning in words, and a choice for each stack axis.

    Parameters
    ----------
    basic_layout, advanced_layout : QFormLayout
        Where the words and the choices, and where the letters are added by `add_rows`.
    """

    changed = Signal()
    """The axes, or a choice."""

    def __init__(self, basic_layout: QFormLayout, advanced_layout: QFormLayout) -> None:
        self._basic_layout, self._advanced_layout = basic_layout, advanced_layout
        self._layer: Image | None = None
        self._combined_axis = ""
        self.line_edit, self.summary = QLineEdit(), QLabel()
        self.line_edit.setToolTip(
            "A letter for each axis: T (time), C (channel), Z (depth), Y and X.\n"
            "They are read from the file; correct them where they are wrong."
        )
        self.summary.setWordWrap(True)
        self.summary.setMinimumWidth(200)  # without it Qt takes a short sentence for two lines
        self.joint_combos: dict[str, QComboBox] = {}
        for letter in STACK_AXES:
            combo = self.joint_combos[letter] = QComboBox()
            combo.addItem("separately", False)
            combo.addItem("jointly", True)
            combo.setToolTip(
                f"Separately: each of the {AXIS_NOUNS[letter]} is restored on its own.\n"
                "Jointly: one network restores them all, and learns what they have in common."
            )
            combo.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.line_edit.textChanged.connect(lambda _: self._update())

    def add_rows(self) -> None:
        """Add the rows at the end of both layouts."""
        self._advanced_layout.addRow("Axes", self.line_edit)
        self._basic_layout.addRow("", self.summary)
        for letter, combo in self.joint_combos.items():
            self._basic_layout.addRow(AXIS_NOUNS[letter].capitalize(), combo)
        self._update()

    def set_layer(self, layer: Image | None) -> None:
        """Show the axes of `layer`."""
        if layer is not self._layer:
            self._layer = layer
            self.line_edit.setText("" if layer is None else axes_of(layer)[: layer.ndim])
            self._update()

    @property
    def axes(self) -> str:
        """The letters as entered, and C for the colors of an RGB image."""
        rgb = self._layer is not None and self._layer.rgb
        return str(self.line_edit.text()).strip().upper() + "C" * rgb

    @property
    def joint_axes(self) -> str:
        """The axes that are restored jointly, as in the setting `stack.joint_axes`."""
        letters = (letter for letter, combo in self.joint_combos.items() if combo.currentData())
        return "".join(letters) or "none"

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each axis, in the layer's order; empty where the letters do not match."""
        if self._layer is None:
            return {}
        shape, axes = finest(self._layer).shape, self.axes
        is_known = {"Y", "X"} <= set(axes) <= set(CANONICAL_AXES)
        matches = is_known and len(axes) == len(shape) == len(set(axes))
        return dict(zip(axes, shape, strict=True)) if matches else {}

    def show(self, joint_axes: str, *, combined_axis: str = "") -> None:
        """Show these joint axes; an axis that the task combines anyway is not asked for."""
        self._combined_axis = combined_axis
        for letter, combo in self.joint_combos.items():
            with signals_blocked(combo):
                combo.setCurrentIndex(int(letter in joint_axes))
        self._show_combos()

    def _update(self) -> None:
        sizes = self.sizes
        counts = [f"{n} {AXIS_NOUNS[letter]}" for letter, n in sizes.items() if letter in AXIS_NOUNS]
        if sizes:
            summary = ", ".join([*counts, f"{sizes['X']} x {sizes['Y']} pixels"])
        elif self._layer is None:
            summary = ""
        else:
            summary = f"Under Advanced, name each of its {self._layer.ndim} axes once: T, C, Z, Y, X."
        self.summary.setText(summary)
        self._advanced_layout.setRowVisible(self.line_edit, self._layer is not None)
        self._basic_layout.setRowVisible(self.summary, bool(summary))
        self._show_combos()
        self.changed.emit()

    def _show_combos(self) -> None:
        sizes = self.sizes
        for letter, combo in self.joint_combos.items():
            is_stack = sizes.get(letter, 1) > 1 and letter != self._combined_axis
            self._basic_layout.setRowVisible(combo, is_stack)
