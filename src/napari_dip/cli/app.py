"""The application and its entry point."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from napari_dip.core.errors import RestorationError, WriteError, describe_unexpected

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"
out = Console(highlight=False, soft_wrap=True)
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what is done, step by step.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors, and what --json asks for.")
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append what is done to a file, with times.")
    ] = None,
) -> None:
    if show_version:
        print(version("napari-dip"))
        raise typer.Exit
    out.quiet, out.stderr = quiet, False
    _start_log(verbose=verbose, file=log_file)


def _start_log(*, verbose: bool, file: Path | None) -> None:
    """Show the log of the engine in the terminal, or write it to a file."""
    handlers: list[logging.Handler] = []
    if verbose:
        handlers.append(logging.StreamHandler())
    if file is not None:
        try:
            handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise WriteError(f"{file} cannot be written: {error.strerror or error}") from error
    if handlers:
        log = logging.getLogger("napari_dip")
        log.setLevel(logging.INFO)
        for handler in handlers:
            handler.setFormatter(logging.Formatter(LOG_FORMAT))
            log.addHandler(handler)


def main() -> None:
    """Run the command line; a failure is one sentence and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # which need not have all file names
            stream.reconfigure(errors="backslashreplace")
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


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object to standard output; numbers that JSON does not have are null."""
    print(json.dumps(_json_values(values), indent=2))


def _json_values(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exit_if_failed(levels: Iterable[str]) -> None:
    """Exit with status 3 if a result was written that its own check calls failed."""
    if "failed" in levels:
        sys.exit(3)


def fail(sentence: str) -> None:
    """Print a sentence to standard error, and exit with status 2."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"napari-dip: {sentence}", markup=False)
    sys.exit(2)
