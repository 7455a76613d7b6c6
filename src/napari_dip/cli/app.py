"""The application and its entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from napari_dip.core.errors import RestorationError, describe_unexpected

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restore one scientific image with nothing but itself: deep image priors.",
)


@app.callback(invoke_without_command=True)
def _options(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[  # read by `main`
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
) -> None:
    if show_version:
        print(version("napari-dip"))
        raise typer.Exit


def main() -> None:
    """Run the command line; a failure is one sentence and exit status 2."""
    try:
        app()
    except RestorationError as error:
        fail(str(error))
    except MemoryError:
        fail("the memory is full: restore a smaller part of the image, or close other programs")
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        where = "napari-dip --debug, before the same command, shows the traceback"
        fail(describe_unexpected(error, where=where))


def exit_if_failed(levels: Iterable[str]) -> None:
    """Exit with status 3 if a result was written that its own check calls failed."""
    if "failed" in levels:
        sys.exit(3)


def fail(sentence: str) -> None:
    """Print a sentence to standard error, and exit with status 2."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"napari-dip: {sentence}", markup=False)
    sys.exit(2)
