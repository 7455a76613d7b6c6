"""*Plugins > napari-dip > Compare two images*: their difference, and with a truth their PSNRs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtWidgets import QFormLayout, QPushButton, QVBoxLayout, QWidget
from skimage.metrics import peak_signal_noise_ratio

from napari_dip.core.errors import ObservationError
from napari_dip.plugin.docks.scrolling_dock import ScrollingDock
from napari_dip.plugin.layers.metadata import METADATA_KEY, axes_of, layer_data_units, spatial_of
from napari_dip.plugin.session.messages import MEMORY_FULL
from napari_dip.plugin.widgets.layer_combo import LayerComboBox

if TYPE_CHECKING:
    import napari


class CompareDock(ScrollingDock):
    """Two images to choose, a third for the truth where it is known, and a button."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.first = LayerComboBox(napari_viewer, Image)
        self.second = LayerComboBox(napari_viewer, Image)
        self.truth = LayerComboBox(napari_viewer, Image, none="unknown")
        self.button = QPushButton("Compare")
        self.second.setToolTip("The image that is subtracted.")
        self.truth.setToolTip("The true image. The peak value of the PSNR is the range of its values.")
        rows = QFormLayout()
        for label, combo in (("Image", self.first), ("Subtract", self.second), ("Truth", self.truth)):
            rows.addRow(label, combo)
        body = QWidget()
        column = QVBoxLayout(body)
        column.addLayout(rows)
        column.addWidget(self.button)
        column.addWidget(self.status)
        column.addStretch(1)
        self.lay_out(body)
        self.button.clicked.connect(self.compare)
        self.reset_choices()

    def reset_choices(self, event: Any = None) -> None:
        """Update the lists of layers; napari calls this when layers change."""
        for combo in (self.first, self.second, self.truth):
            combo.refresh()
        has_two = self.first.count() > 1
        if has_two and self.second.layer() == self.first.layer():
            self.second.choose_another(self.first.layer())
        self.button.setEnabled(has_two)
        if not has_two:
            self.say("Open two images first.")
        elif self.status.text().startswith("Open"):
            self.say("Compare adds a layer with the difference.")

    def stop_work(self) -> None:
        """Do nothing: nothing runs in the background."""

    def compare(self) -> None:
        """Add the difference as a layer, and show its r.m.s."""
        try:
            layers = (combo.layer() for combo in (self.first, self.second, self.truth))
            self.say(compare_layers(self._viewer, *layers))
        except (ObservationError, MemoryError, OSError) as error:
            self.say(str(error) or MEMORY_FULL, error=True)


def compare_layers(
    viewer: napari.viewer.Viewer, first: Image, second: Image, truth: Image | None = None
) -> str:
    """Add `first` - `second` as a layer, and return its r.m.s. as a sentence; with `truth` both PSNRs.

    Raises
    ------
    ObservationError
        If the shapes differ, or both are the same layer.
    """
    if first == second:
        raise ObservationError(f"'{first.name}' is chosen twice: subtract another image")
    pixels, subtracted = (np.asarray(layer_data_units(layer), float) for layer in (first, second))
    for layer in filter(None, (second, truth)):
        if (shape := layer_data_units(layer).shape) != pixels.shape:
            raise ObservationError(
                f"'{layer.name}' has the shape {shape}, '{first.name}' {pixels.shape}: choose images of"
                " the same shape"
            )
    difference = pixels - subtracted
    rms = float(np.sqrt(np.nanmean(difference**2)))
    limit = float(np.nanpercentile(np.abs(difference), 99.5)) or 1.0
    viewer.add_image(
        difference.sum(axis=-1) if first.rgb else difference,
        name=f"{first.name} minus {second.name}",
        colormap="PiYG",
        contrast_limits=(-limit, limit),
        metadata={METADATA_KEY: {"axes": axes_of(first)[: first.ndim]}},
        **spatial_of(first),
    )
    parts = [f"R.m.s. difference {rms:.4g}"]
    if truth is not None:
        true_pixels = np.asarray(layer_data_units(truth), float)
        for layer, values in ((first, pixels), (second, subtracted)):
            parts.append(f"PSNR of '{layer.name}' {_psnr(true_pixels, values):.2f} dB")
    return f"{'; '.join(parts)}."


def _psnr(truth: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """Return the PSNR over pixels where both are finite. [dB]"""
    both = np.isfinite(truth) & np.isfinite(image)
    true_values = truth[both]
    peak = float(np.ptp(true_values)) or 1.0
    return float(peak_signal_noise_ratio(true_values, image[both], data_range=peak))
