"""The list that asks which quality flags are holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_dip.io.data_quality import DataQuality
from napari_dip.plugin.layers.metadata import METADATA_KEY

if TYPE_CHECKING:
    from napari.layers import Labels

VISIBLE_ROWS = 5  # that are seen without scrolling


class FlagList(QListWidget):  # type: ignore[misc]
    """The flags that occur in a quality layer, those ticked that are holes."""

    ticked = Signal(int, bool)
    """A flag, and whether it is one of holes now."""

    def __init__(self) -> None:
        super().__init__()
        self.quality: DataQuality | None = None
        self.setToolTip("What the file calls wrong with its pixels.\nTicked: a hole in the Holes layer.")
        self.itemChanged.connect(self._on_ticked)

    def show_flags(self, layer: Labels | None) -> None:
        """List the flags of a quality layer; none without one."""
        ours = {} if layer is None else layer.metadata.get(METADATA_KEY, {})
        quality: DataQuality | None = ours.get("quality")
        if quality is self.quality:
            return
        self.quality = quality
        blocked = self.blockSignals(True)
        self.clear()
        for flag, (name, count) in (quality.flag_counts() if quality else {}).items():
            item = QListWidgetItem(f"{name} ({count:,} pixels)", self)
            item.setData(Qt.ItemDataRole.UserRole, flag)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            is_hole = quality is not None and flag in quality.bad
            item.setCheckState(Qt.CheckState.Checked if is_hole else Qt.CheckState.Unchecked)
        self.blockSignals(blocked)
        lines = min(max(self.count(), 1), VISIBLE_ROWS)
        self.setFixedHeight(lines * max(self.sizeHintForRow(0), 16) + 2 * self.frameWidth() + 2)

    def _on_ticked(self, item: QListWidgetItem) -> None:
        flag = int(item.data(Qt.ItemDataRole.UserRole))
        self.ticked.emit(flag, item.checkState() == Qt.CheckState.Checked)
