"""The application and its entry point."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from napari_dip.core.errors import RestorationError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Restore one scientific image with nothing but itself: deep image priors.",
)


def main() -> None:
    """Run the command line; a failure is one sentence and exit status 2."""
    try:
        app()
    except RestorationError as error:
        fail(str(error))
    except MemoryError:
        fail("the memory is full: restore a smaller crop, or close other programs")


def fail(sentence: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"napari-dip: {sentence}", markup=False)
    sys.exit(2)
