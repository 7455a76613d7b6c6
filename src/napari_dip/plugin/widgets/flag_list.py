"""The list of quality flags, to choose those that mark missing pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem
from superqt.utils import signals_blocked

from napari_dip.io.data_quality import DataQuality
from napari_dip.plugin.layers.bad_flags import quality_of

if TYPE_CHECKING:
    from napari.layers import Labels

VISIBLE_ROWS = 5  # rows that are visible without scrolling


class FlagList(QListWidget):  # type: ignore[misc]
    """The flags that occur in a quality layer; those treated as missing are checked."""

    flag_toggled = Signal(int, bool)
    """A flag, and whether its pixels are treated as missing now."""

    def __init__(self) -> None:
        super().__init__()
        self.quality: DataQuality | None = None
        self.setToolTip(
            "The quality flags of the file.\nPixels with a checked flag are added to the mask."
        )
        self.itemChanged.connect(self._on_item_changed)

    def show_flags(self, layer: Labels | None) -> None:
        """List the flags of a quality layer; none without one."""
        quality = quality_of(layer)
        if quality is self.quality:
            return
        self.quality = quality
        with signals_blocked(self):
            self.clear()
            for flag, (name, count) in (quality.flag_counts() if quality else {}).items():
                item = QListWidgetItem(f"{name} ({count:,} pixels)", self)
                item.setData(Qt.ItemDataRole.UserRole, flag)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
                is_bad = quality is not None and flag in quality.bad
                item.setCheckState(Qt.CheckState.Checked if is_bad else Qt.CheckState.Unchecked)
        num_rows = min(max(self.count(), 1), VISIBLE_ROWS)
        self.setFixedHeight(num_rows * max(self.sizeHintForRow(0), 16) + 2 * self.frameWidth() + 2)

    def _on_item_changed(self, item: QListWidgetItem) -> None:
        flag = int(item.data(Qt.ItemDataRole.UserRole))
        self.flag_toggled.emit(flag, item.checkState() == Qt.CheckState.Checked)
