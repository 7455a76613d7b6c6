"""Restore one scientific image with nothing but itself: deep image priors, in napari and without.

The public names are listed in ``__init__.pyi`` and imported on first use.

Examples
--------
>>> import napari_dip as dip
>>> result = dip.denoise("image.fits")  # doctest: +SKIP
>>> dip.write("restored.fits", result)  # doctest: +SKIP
0.0
"""

from importlib.metadata import version

import lazy_loader

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("napari-dip")
__all__ += ["__version__"]


def __dir__() -> list[str]:
    return sorted(__all__)
