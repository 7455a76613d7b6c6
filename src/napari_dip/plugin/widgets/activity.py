"""A progress bar in napari's activity dock."""

from __future__ import annotations

from typing import Any

from napari.utils import progress
from qtpy.QtWidgets import QLabel, QWidget


class Activity:
    """A progress bar of `total` steps that is opened and closed many times."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None
        self._is_updating = self._is_open = False

    def open(self, title: str) -> None:
        """Show the bar, unless it is shown already."""
        self._is_open = True
        if self._bar is None:
            self._bar = progress(total=self._total, desc=title)

    def update(self, position: int) -> None:
        """Move the bar to a position."""
        # napari's bar runs the event loop, which may call this object again before it returns.
        if self._bar is None or self._is_updating:
            return
        self._is_updating = True
        try:
            self._bar.update(position - self._bar.n)
        finally:
            self._is_updating = False
        if not self._is_open:
            self.close()

    def close(self) -> None:
        """Remove the bar; in the middle of an update, at its end."""
        self._is_open = False
        if not self._is_updating and self._bar is not None:
            bar, self._bar = self._bar, None
            bar.close()


def slow_down_spinner(window: QWidget) -> None:
    """Slow the spinner in the status bar of napari's window: every turn redraws all of it."""
    for label in window.findChildren(QLabel):
        if label.movie() is not None:
            label.movie().setSpeed(10)
