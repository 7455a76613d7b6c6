"""Units of lengths and times along the axes of an image."""

from __future__ import annotations


def convert(value: float, unit: str, to: str) -> float | None:
    """Return a length or time in another unit; None if the units do not match.

    Examples
    --------
    >>> convert(0.5, "um", "nm")
    500.0
    >>> convert(1.0, "um", "s") is None
    True
    """
    if unit == to:
        return value
    from astropy import units  # takes a third of a second to import

    try:
        return round(float(units.Unit(unit).to(to, value)), 12)
    except ValueError:  # unknown units are ValueErrors, too, and so are those of another kind
        return None
