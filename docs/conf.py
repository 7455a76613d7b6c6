"""Sphinx configuration; the command line reference is generated from the program."""

import os
import re
import subprocess
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
COMMANDS = HERE / "reference" / "command-line.md"  # written by every build, not committed

project = "napari-dip"
author = "the napari-dip developers"
copyright = "BSD-3-Clause"  # noqa: A001 - Sphinx' name
release = version = version_of("napari-dip").partition("+")[0]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "before_after",
]
exclude_patterns = ["_build", "examples"]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",  # written by every build, not committed
    "filename_pattern": "plot_",
    "show_memory": False,
    "remove_config_comments": True,
}
nitpicky = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the numpydoc sections give the types
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"napari-dip {release}"
html_favicon = "../src/napari_dip/icon.svg"
html_static_path = ["_static"]
html_css_files = ["before_after.css"]
if site_release := os.environ.get("SITE_RELEASE"):  # pages of two versions, by scripts/site
    home, dev = ("../", "") if os.environ["SITE_PART"] == "dev" else ("", "dev/")
    html_context = {
        "site_versions": [(site_release, f"{home}index.html"), ("development", f"{dev}index.html")]
    }
    templates_path = ["_templates"]
    parts = ["brand", "versions", "search", "scroll-start", "navigation", "scroll-end"]
    html_sidebars = {"**": [f"sidebar/{part}.html" for part in parts]}


def _write_commands(app: object) -> None:
    """Write the command line reference."""
    output = subprocess.run(
        [sys.executable, "-m", "typer", "napari_dip.cli", "utils", "docs", "--name", "napari-dip"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    page = output.replace("# `napari-dip`", "# Command line", 1).replace("```console", "```text")
    COMMANDS.write_text(page, "utf-8")


def _number_references(
    app: object, what: str, name: str, obj: object, options: object, lines: list
) -> None:
    """Turn footnotes such as [1] into numbered lists, because each docstring has its own [1]."""
    lines[:] = [re.sub(r"^(\s*)\.\. \[(\d)\] ", r"\1\2.     ", line) for line in lines]


def setup(app: object) -> None:
    """Connect to Sphinx."""
    app.connect("builder-inited", _write_commands)
    app.connect("autodoc-process-docstring", _number_references)
