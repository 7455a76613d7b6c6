"""Style sheets shared by the docks, which are readable in every theme."""

from __future__ import annotations

from collections.abc import Mapping

ERROR_STYLE = "background: #99121f; color: white;"
LEVEL_STYLES: Mapping[str, str] = {
    "good": "background: #17663a; color: white;",
    "check": "background: #7d5200; color: white;",
    "failed": ERROR_STYLE,
}
