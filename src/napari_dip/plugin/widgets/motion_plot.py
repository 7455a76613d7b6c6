"""Plot of how a scene moved: its rotation and shift in each exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg

from napari_dip.core.axes import FloatArray
from napari_dip.plugin.widgets.plots import BLUE, GREEN, ORANGE, color_plot, make_small

if TYPE_CHECKING:
    from napari.utils.theme import Theme

CURVES = (
    ("turn [degree]", GREEN),
    ("shift y", BLUE),
    ("x [pixel]", ORANGE),
)


class MotionPlot(pg.PlotWidget):  # type: ignore[misc]
    """Rotation and shift over the number of the exposure; of several slices, those of the first."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        make_small(self)
        self.curves = [
            self.plot(pen=pg.mkPen(color, width=1), symbol="o", symbolSize=5, symbolBrush=color)
            for _, color in CURVES
        ]
        self.restyle(theme)

    def restyle(self, theme: Theme) -> None:
        """Use the colors of a napari theme."""
        title = ", ".join(f'<span style="color:{color}">{name}</span>' for name, color in CURVES)
        color_plot(self, theme, bottom="exposure", left="motion", title=title)

    def show_motion(self, motion: FloatArray) -> None:
        """Show motion, (exposures, 3) or (slices, exposures, 3)."""
        first = motion if motion.ndim == 2 else motion[0]
        for curve, values in zip(self.curves, first.T, strict=True):
            curve.setData(np.arange(1, len(values) + 1), values)
