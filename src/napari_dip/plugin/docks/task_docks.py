"""The dock of each task: napari needs a class to pass the viewer to."""

from __future__ import annotations

from napari_dip.plugin.docks.restore_dock import RestoreDock


def _dock_class(name: str, preset: str) -> type[RestoreDock]:
    """Return the dock that is opened on `preset`."""
    return type(name, (RestoreDock,), {"preset": preset, "__module__": __name__})


DenoiseDock = _dock_class("DenoiseDock", "denoise")
InpaintDock = _dock_class("InpaintDock", "inpaint")
SuperResolutionDock = _dock_class("SuperResolutionDock", "super-resolution")
DeconvolveDock = _dock_class("DeconvolveDock", "deconvolve")
CoaddDock = _dock_class("CoaddDock", "coadd")
GuidedDock = _dock_class("GuidedDock", "guided")
MapDock = _dock_class("MapDock", "t2-map")
MotionDock = _dock_class("MotionDock", "mri-motion")
DynamicMriDock = _dock_class("DynamicMriDock", "dynamic-mri")
