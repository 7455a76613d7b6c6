"""The rows that ask for a layer's axes, and of each which planes are restored together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit

from napari_dip.core.axes import CANONICAL_AXES
from napari_dip.plugin.layers.metadata import axes_of, finest

if TYPE_CHECKING:
    from napari.layers import Image

AXIS_NOUNS = {"T": "times", "C": "channels", "Z": "depths"}
STACK_AXES = "TZ"  # channels are always restored together


class AxesEditor:
    """A line for the letters of the axes, what they come to in words, and a question for each stack."""

    changed = Signal()
    """The axes, or an answer."""

    def __init__(self) -> None:
        self._layer: Image | None = None
        self._rows: QFormLayout | None = None
        self._details: QFormLayout | None = None
        self._combined = ""
        self.line_edit, self.summary = QLineEdit(), QLabel()
        self.line_edit.setToolTip(
            "A letter for each axis: T (time), C (channel), Z (depth), Y and X.\n"
            "They are the file's, where it says so: correct them where they are wrong."
        )
        self.summary.setWordWrap(True)
        self.summary.setMinimumWidth(300)  # else Qt takes a short sentence for two lines
        self.joint_combos: dict[str, QComboBox] = {}
        for letter in STACK_AXES:
            question = self.joint_combos[letter] = QComboBox()
            question.addItem("one by one", False)
            question.addItem("together, by one network", True)
            question.setToolTip(
                f"One by one: each of the {AXIS_NOUNS[letter]} as if there were no others.\n"
                "Together: what they share is learnt with the light of all."
            )
            question.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.line_edit.textChanged.connect(lambda _: self._update())

    def add_to(self, rows: QFormLayout, details: QFormLayout) -> None:
        """Lay out the words and the questions below what is in `rows`, the letters in `details`."""
        self._rows, self._details = rows, details
        details.addRow("Axes", self.line_edit)
        rows.addRow("", self.summary)
        for letter, question in self.joint_combos.items():
            rows.addRow(AXIS_NOUNS[letter].capitalize(), question)
        self._update()

    def set_layer(self, layer: Image | None) -> None:
        """Begin with what is known of the axes of `layer`."""
        if layer is not self._layer:
            self._layer = layer
            self.line_edit.setText("" if layer is None else axes_of(layer)[: layer.ndim])
            self._update()

    @property
    def axes(self) -> str:
        """The letters as they stand, of colours too."""
        colours = self._layer is not None and self._layer.rgb
        return str(self.line_edit.text()).strip().upper() + "C" * colours

    @property
    def joint_axes(self) -> str:
        """What is to be restored together, as `Stack.together` has it."""
        return (
            "".join(t for t, question in self.joint_combos.items() if question.currentData()) or "none"
        )

    def show(self, together: str, *, combined: str = "") -> None:
        """Show these answers; what the task combines anyway is not asked for."""
        self._combined = combined
        for letter, question in self.joint_combos.items():
            blocked = question.blockSignals(True)
            question.setCurrentIndex(int(letter in together))
            question.blockSignals(blocked)
        self._show_questions()

    def _update(self) -> None:
        sizes = self.sizes
        counts = [f"{n} {AXIS_NOUNS[letter]}" for letter, n in sizes.items() if letter in AXIS_NOUNS]
        if sizes:
            words = ", ".join([*counts, f"{sizes['X']} x {sizes['Y']} pixels"])
        elif self._layer is None:
            words = ""
        else:
            words = f"Under Advanced, name each of its {self._layer.ndim} axes once: T, C, Z, Y, X."
        self.summary.setText(words)
        if self._rows is not None and self._details is not None:
            self._details.setRowVisible(self.line_edit, self._layer is not None)
            self._rows.setRowVisible(self.summary, bool(words))
        self._show_questions()
        self.changed.emit()

    def _show_questions(self) -> None:
        sizes = self.sizes
        for letter, question in self.joint_combos.items():
            if self._rows is not None:
                asked = sizes.get(letter, 1) > 1 and letter not in self._combined
                self._rows.setRowVisible(question, asked)

    @property
    def sizes(self) -> dict[str, int]:
        """How long each axis is, in the layer's order; empty where the letters cannot be."""
        if self._layer is None:
            return {}
        shape = finest(self._layer).shape
        axes = self.axes
        known = {"Y", "X"} <= set(axes) <= set(CANONICAL_AXES)
        fits = known and len(axes) == len(shape) == len(set(axes))
        return dict(zip(axes, shape, strict=True)) if fits else {}
