"""Write docs/settings.md: every preset, every setting, every member of every family, from the code."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from napari_dip import Recipe, list_presets
from napari_dip.core.settings import Settings, ordered_fields, union_members

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def page() -> str:
    """The page as Markdown."""
    lines = [
        "# Settings",
        "",
        "Written by `python scripts/settings_page.py` from the code; change the sentences there.",
        "",
        "Change one on the command line with `--set NAME=VALUE`, in Python with"
        ' `recipe.override({"NAME": value})`, in the dock above the buttons or under *Advanced*.',
        "",
        "## Presets",
        "",
        "| preset | what it is for |",
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
            lines += _member(name, kind, several=len(kinds) > 1)
    lines += ["## The rest", "", "| setting | default | meaning |", "|---|---|---|"]
    lines += [
        _row(name, field)
        for name, field in Recipe.model_fields.items()
        if not union_members(field.annotation)
    ]
    return "\n".join(lines) + "\n"


def _member(family: str, kind: type[Settings], *, several: bool) -> list[str]:
    lines = []
    if several:
        lines += [f"### {family}.kind = {kind.model_fields['kind'].default}", ""]
        about = (kind.__doc__ or "").split("References\n")[0]
        lines += [" ".join(part.split()) + "\n" for part in about.strip().split("\n\n")]
        if extras := getattr(kind, "extras", ()):
            names = ", ".join(f"`{name}`" for name in extras)
            lines += [f"Takes the companion {names}: a layer in the dock, `--with NAME=FILE`.", ""]
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
