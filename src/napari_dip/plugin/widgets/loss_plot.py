"""Plot of a run: training and validation loss over the steps, in the colors of napari's theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from napari_dip.core.progress import Progress
from napari_dip.core.result import Result
from napari_dip.plugin.widgets.plots import BLUE, ORANGE, color_plot, make_small

if TYPE_CHECKING:
    from napari.utils.theme import Theme

LEGEND = (  # above the curves, which it would hide in so narrow a plot
    f'<span style="color:{BLUE}">fit to the data</span>, '
    f'<span style="color:{ORANGE}">error on held-out data</span>'
)


class LossPlot(pg.PlotWidget):  # type: ignore[misc]
    """Loss and validation loss over the steps of the present fit, on a logarithmic axis."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(axisItems={"left": _Decades("left")})
        make_small(self)
        item = self.getPlotItem()
        item.setLogMode(x=False, y=True)
        item.setDownsampling(auto=True, mode="peak")
        thick = pg.mkPen(ORANGE, width=2)
        dashed = pg.mkPen(ORANGE, width=1, style=pg.QtCore.Qt.DashLine)
        self._loss = self.plot(pen=pg.mkPen(BLUE, width=1))
        self._validation_loss = self.plot(pen=thick)
        self._selected_line = pg.InfiniteLine(
            pen=dashed, label="selected", labelOpts={"color": ORANGE, "position": 0.85}
        )
        self._selected_line.hide()
        self.addItem(self._selected_line)
        self.restyle(theme)
        self.clear_curves()

    def restyle(self, theme: Theme) -> None:
        """Use the colors of a napari theme."""
        color_plot(self, theme, bottom="step", left="error", title=LEGEND)

    def clear_curves(self) -> None:
        """Remove the curves of the last run."""
        self._selected_step = 0
        self._steps: list[int] = []
        self._values: list[tuple[float, float]] = []
        self._fit = (0, 0, 0)
        self._selected_line.hide()
        self._draw(np.zeros(0), np.zeros((0, 2)))

    def add(self, progress: Progress) -> None:
        """Add a point; a new fit starts new curves. Before the first step there is none."""
        if progress.step == 0:
            return
        fit = progress.block, progress.tile, progress.member
        if fit != self._fit or (self._steps and progress.step < self._steps[-1]):
            self.clear_curves()
            self._fit = fit
        self._steps.append(progress.step)
        self._values.append((progress.loss, progress.validation_loss))
        self._draw(np.array(self._steps), np.array(self._values))

    def show_result(self, result: Result) -> None:
        """Show every step of the last fit, and the selected one."""
        history = result.history[-1]
        self._selected_step = history.selected_step
        if history.selected_step:
            steps = np.arange(1, len(history.loss) + 1)
            self._draw(steps, np.stack((history.loss, history.validation_loss), axis=1))
            self._selected_line.setValue(history.selected_step)
            self._selected_line.show()

    def mark(self, step: int) -> None:
        """Mark another step than the selected one; 0 marks the selected one."""
        self._selected_line.setValue(step or self._selected_step)

    def _draw(self, steps: NDArray[Any], values: NDArray[np.float64]) -> None:
        for curve, column in ((self._loss, 0), (self._validation_loss, 1)):
            curve.setData(steps, values[:, column])


class _Decades(pg.AxisItem):  # type: ignore[misc]
    """A logarithmic axis whose labels do not overlap."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802
        """Return powers of ten, and 2 and 5 times these where there are few."""
        parts = np.log10((1, 2, 5)) if high - low < 1.5 else np.zeros(1)
        decades = np.arange(np.floor(low), np.ceil(high) + 1)
        values = np.add.outer(decades, parts).ravel()
        return [(1.0, [float(value) for value in values if low <= value <= high])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: N802
        """Return the values as numbers."""
        return [f"{10**value:.4g}" for value in values]
