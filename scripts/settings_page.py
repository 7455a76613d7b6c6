"""Write docs/reference/settings.md: every preset and every setting, from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from napari_dip import Recipe, list_presets
from napari_dip.core.settings import Settings, ordered_fields, union_members

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"


def page() -> str:
    """Return the page as Markdown."""
    lines = [
        "# Settings",
        "",
        "<!-- written by scripts/settings_page.py -->",
        "",
        "Change a setting on the command line with `--set NAME=VALUE`, in Python with"
        ' `recipe.with_settings({"NAME": value})`, and in the dock, where some are under *Advanced*.',
        "",
        "## Presets",
        "",
        "| preset | what it does |",
        "|---|---|",
        *(f"| `{name}` | {Recipe.preset(name).description} |" for name in list_presets()),
        "",
    ]
    for name, field in Recipe.model_fields.items():
        kinds = union_members(field.annotation)
        if not kinds:
            continue
        lines += [f"## {name}", "", _sentence(field), ""]
        for kind in kinds:
            lines += _member(name, kind, is_only=len(kinds) == 1)
    lines += ["## Other settings", "", "| setting | default | meaning |", "|---|---|---|"]
    lines += [
        _row(name, field)
        for name, field in Recipe.model_fields.items()
        if not union_members(field.annotation)
    ]
    return "\n".join(lines) + "\n"


def _member(family: str, kind: type[Settings], *, is_only: bool) -> list[str]:
    lines = []
    if not is_only:
        lines += [f"### {family}.kind = {kind.model_fields['kind'].default}", ""]
        description = (kind.__doc__ or "").split("References\n")[0]
        lines += [" ".join(part.split()) + "\n" for part in description.strip().split("\n\n")]
        if names := getattr(kind, "auxiliary", ()):
            options = ", ".join(f"`--{name.replace('_', '-')} FILE`" for name in names)
            lines += [f"Auxiliary data: a layer in the dock, or {options} on the command line.", ""]
    own = [(name, field) for name, field in ordered_fields(kind).items() if name != "kind"]
    if own:
        lines += ["| setting | default | meaning |", "|---|---|---|"]
        lines += [_row(f"{family}.{name}", field) for name, field in own]
        lines.append("")
    return lines


def _row(name: str, field: FieldInfo) -> str:
    default = "automatic" if field.default is None else field.default
    return f"| `{name}` | {default} | {_sentence(field)} |"


def _sentence(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(page())
    else:
        PAGE.write_text(page(), "utf-8")
