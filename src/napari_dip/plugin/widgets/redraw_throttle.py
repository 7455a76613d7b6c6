"""Limits how often a running fit redraws the window."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

DRAWING_FACTOR = 8  # seconds without drawing for each second of drawing
SLOW_DRAWING_S = 0.03  # without a graphics card, a window takes three times as long


class RedrawThrottle:
    """Decides when to draw progress and when to request a preview: the fit needs the processor more.

    Attributes
    ----------
    min_interval : float
        Shortest time between two redraws. [s]
    last_duration : float
        Duration of the last redraw. [s]
    """

    def __init__(self) -> None:
        self.min_interval, self.last_duration = 0.1, 0.0
        self._next_redraw = self._next_preview = 0.0

    def reset(self) -> None:
        """Allow a redraw and a preview at once."""
        self._next_redraw = self._next_preview = 0.0

    def take_preview_turn(self) -> bool:
        """Return whether a preview should be requested now; then not again until it is drawn."""
        if time.monotonic() < self._next_preview:
            return False
        self._next_preview = math.inf
        return True

    def may_redraw(self) -> bool:
        """Return whether the window may be redrawn now."""
        return time.monotonic() >= self._next_redraw

    @contextmanager
    def drawing(self, *, is_preview: bool) -> Iterator[None]:
        """Measure how long it takes to draw, and set the time of the next redraw by it."""
        start = time.monotonic()
        yield
        now = time.monotonic()
        self.last_duration = now - start
        self._next_redraw = now + max(self.min_interval, DRAWING_FACTOR * self.last_duration)
        if is_preview or math.isfinite(self._next_preview):
            self._next_preview = self._next_redraw
