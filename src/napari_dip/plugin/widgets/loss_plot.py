"""The plot of a run: loss and stopping statistic over the steps, in napari's colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

from napari_dip.core.progress import Progress
from napari_dip.core.result import Result

if TYPE_CHECKING:
    from napari.utils.theme import Theme

# Two of Okabe and Ito's colours that all readers tell apart, on dark and on light ground.
LOSS, VALIDATION = "#56B4E9", "#E69F00"


class LossPlot(pg.PlotWidget):  # type: ignore[misc]
    """Loss and stopping statistic against the step."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(axisItems={"left": _Decades("left")})
        self.setFixedHeight(150)
        self.setMouseEnabled(x=False, y=False)
        self.setMenuEnabled(False)
        self.hideButtons()
        item = self.getPlotItem()
        item.setLogMode(x=False, y=True)
        item.setDownsampling(auto=True, mode="peak")
        self._legend = item.addLegend(offset=(-5, 5))
        self._loss = self.plot(pen=pg.mkPen(LOSS, width=1), name="loss")
        self._statistic = self.plot(pen=pg.mkPen(VALIDATION, width=2), name="stopping statistic")
        self._chosen = pg.InfiniteLine(pen=pg.mkPen(VALIDATION, width=1, style=pg.QtCore.Qt.DashLine))
        self._chosen.hide()
        self.addItem(self._chosen)
        self.restyle(theme)
        self.clear_curves()

    def restyle(self, theme: Theme) -> None:
        """Take the colours of a napari theme."""
        text = theme.text.as_hex()
        self.setBackground(theme.background.as_hex())
        self._legend.setLabelTextColor(text)
        for side in ("bottom", "left"):
            axis = self.getPlotItem().getAxis(side)
            axis.setPen(text)
            axis.setTextPen(text)
        self.setLabel("bottom", "step", color=text)

    def clear_curves(self) -> None:
        """Forget the run before."""
        self._taken = 0
        self._steps: list[int] = []
        self._values: list[tuple[float, float]] = []
        self._fit = (0, 0, 0)
        self._chosen.hide()
        self._draw(np.zeros(0), np.zeros((0, 2)))

    def add(self, iterate: Progress) -> None:
        """One more point; a new fit begins a new course."""
        fit = iterate.block, iterate.tile, iterate.member
        if fit != self._fit or (self._steps and iterate.step < self._steps[-1]):
            self.clear_curves()
            self._fit = fit
        self._steps.append(iterate.step)
        self._values.append((iterate.loss, iterate.validation_loss))
        self._draw(np.array(self._steps), np.array(self._values))

    def show_result(self, result: Result) -> None:
        """Every step of the last fit, and which was taken."""
        course = result.history[-1]
        self._taken = course.selected_step
        if course.selected_step:
            steps = np.arange(1, len(course.loss) + 1)
            self._draw(steps, np.stack((course.loss, course.validation_loss), axis=1))
            self._chosen.setValue(course.selected_step)
            self._chosen.show()

    def mark(self, step: int) -> None:
        """Another step than that which was taken; 0: that one again."""
        self._chosen.setValue(step or self._taken)

    def _draw(self, steps: NDArray[Any], values: NDArray[np.float64]) -> None:
        for curve, column in ((self._loss, 0), (self._statistic, 1)):
            curve.setData(steps, values[:, column])


class _Decades(pg.AxisItem):  # type: ignore[misc]
    """A logarithmic axis whose labels do not run into each other."""

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:  # noqa: N802
        """Powers of ten, where there are few of them twice and five times as much, too."""
        parts = np.log10((1, 2, 5)) if high - low < 1.5 else np.zeros(1)
        decades = np.arange(np.floor(low), np.ceil(high) + 1)
        values = np.add.outer(decades, parts).ravel()
        return [(1.0, [float(value) for value in values if low <= value <= high])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:  # noqa: N802
        """As numbers."""
        return [f"{10**value:.4g}" for value in values]
