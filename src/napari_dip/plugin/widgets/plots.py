"""What the plots in a dock share: size, colors and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg

if TYPE_CHECKING:
    from napari.utils.theme import Theme

# Okabe and Ito's colors, which everybody can distinguish on dark and light backgrounds.
BLUE, ORANGE, GREEN = "#56B4E9", "#E69F00", "#009E73"


def make_small(plot: pg.PlotWidget) -> None:
    """Let a plot fit into a dock, and stay as it is under the mouse."""
    plot.setFixedHeight(150)
    plot.setMouseEnabled(x=False, y=False)
    plot.setMenuEnabled(False)
    plot.hideButtons()


def color_plot(plot: pg.PlotWidget, theme: Theme, *, bottom: str, left: str, title: str) -> None:
    """Label a plot, in the colors of a napari theme."""
    text = theme.text.as_hex()
    plot.setBackground(theme.background.as_hex())
    for side, label in (("bottom", bottom), ("left", left)):
        axis = plot.getPlotItem().getAxis(side)
        axis.setPen(text)
        axis.setTextPen(text)
        plot.setLabel(side, label, color=text)
    plot.getPlotItem().setTitle(title, size="9pt", color=text)
