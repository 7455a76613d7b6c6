"""Style sheets shared by the docks."""

from __future__ import annotations

ERROR_STYLE = "background: #99121f; color: white;"  # readable in every theme
