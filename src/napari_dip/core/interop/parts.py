"""What an object of another library holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_dip.core.header import Header

if TYPE_CHECKING:
    from napari_dip.core.result import Result

Wrap = Callable[["Result", NDArray[Any]], Any]


@dataclass(frozen=True, eq=False)
class Parts:
    """What an object holds: the array, its axes where it names them, and what belongs to it.

    `wrap` makes an object of the same kind from a result and its image.
    """

    array: Any
    axes: str = ""
    mask: Any = None
    sigma: Any = None
    auxiliary: Mapping[str, Any] = field(default_factory=dict)
    header: Header = field(default_factory=Header)
    wrap: Wrap = lambda result, image: image
