"""*Plugins > napari-dip > Compare two images*: their difference, and how far each is from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget
from skimage.metrics import peak_signal_noise_ratio

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock, ignore_wheel
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of, layer_data_units, spatial_of
from napari_dip.plugin.widgets.layer_combo import LayerComboBox

if TYPE_CHECKING:
    import napari


class CompareDock(ScrollingDock):
    """Two pickers, a third for the truth where it is known, and a button."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.first = LayerComboBox(napari_viewer, Image)
        self.second = LayerComboBox(napari_viewer, Image)
        self.truth = LayerComboBox(napari_viewer, Image, none="not known")
        self.button = QPushButton("Compare")
        self.second.setToolTip("It is subtracted from the first.")
        self.truth.setToolTip("What both should be. The peak of the PSNR is its range of values.")
        rows = QFormLayout()
        for label, picker in (("Image", self.first), ("less", self.second), ("Truth", self.truth)):
            rows.addRow(label, picker)
        body = QWidget()
        column = QVBoxLayout(body)
        column.addLayout(rows)
        column.addWidget(self.button)
        column.addWidget(self.status)
        column.addStretch(1)
        self.setWidget(body)
        ignore_wheel(body)
        self.button.clicked.connect(self.compare)
        self.reset_choices()

    def reset_choices(self, event: Any = None) -> None:
        """Called by napari when layers come, go, move or change their names."""
        for picker in (self.first, self.second, self.truth):
            picker.refresh()
        enough = self.first.count() > 1
        self.button.setEnabled(enough)
        if not enough:
            self.say("Open two images first.")
        elif self.status.text().startswith("Open"):
            self.say("Adds a layer with the difference.")

    def stop_work(self) -> None:
        """There is nothing under way."""

    def compare(self) -> None:
        """Add the difference, and tell how large it is."""
        try:
            chosen = (picker.layer() for picker in (self.first, self.second, self.truth))
            self.say(compare_layers(self._viewer, *chosen))
        except (ObservationError, MemoryError, OSError) as error:
            self.say(str(error) or "the memory is full: crop the images first", error=True)


def compare_layers(
    viewer: napari.viewer.Viewer, first: Image, second: Image, truth: Image | None = None
) -> str:
    """Add `first` minus `second` as a layer; tell its r.m.s., and with a `truth` both PSNRs.

    Raises
    ------
    ObservationError
        If they are not of one shape.
    """
    one, other = (np.asarray(layer_data_units(layer), float) for layer in (first, second))
    for layer in filter(None, (second, truth)):
        if (shape := layer_data_units(layer).shape) != one.shape:
            raise ObservationError(
                f"'{layer.name}' is {shape}, '{first.name}' {one.shape}: choose images of one shape"
            )
    difference = one - other
    rms = float(np.sqrt(np.nanmean(difference**2)))
    most = float(np.nanpercentile(np.abs(difference), 99.5)) or 1.0
    viewer.add_image(
        difference.sum(axis=-1) if first.rgb else difference,
        name=f"{first.name} minus {second.name}",
        colormap="PiYG",
        contrast_limits=(-most, most),
        metadata={METADATA_KEY: {"axes": axes_of(first)[: first.ndim]}},
        **spatial_of(first),
    )
    told = f"R.m.s. difference {rms:.4g}"
    if truth is not None:
        known = np.asarray(layer_data_units(truth), float)
        for layer, pixels in ((first, one), (second, other)):
            told += f"; PSNR of '{layer.name}' {_psnr(known, pixels):.2f} dB"
    return f"{told}."


def _psnr(truth: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """Where both are known."""
    both = np.isfinite(truth) & np.isfinite(image)
    known = truth[both]
    return float(peak_signal_noise_ratio(known, image[both], data_range=float(np.ptp(known)) or 1.0))
