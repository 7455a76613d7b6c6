"""A run that the caller drives."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Self

from napari_dip.core.progress import Progress, Request
from napari_dip.core.result import Result


class RestorationRun:
    """A restoration that the caller drives by iterating over it.

    Each iteration lets the run work until it has something to report, several times a second. Stop
    iterating to pause; leave the ``with`` block, or call `close`, to cancel. `stop` and
    `request_preview` may be called from any thread.
    """

    def __init__(self, steps: Generator[Progress, Request | None, Result]) -> None:
        self._steps = steps
        self._started = False
        self._stop = self._preview = False
        self._result: Result | None = None

    def __iter__(self) -> Iterator[Progress]:
        return self

    def __next__(self) -> Progress:
        request = None
        if self._started:  # a generator takes nothing at its start
            preview, self._preview = self._preview, False
            request = Request(preview=preview, stop=self._stop)
        self._started = True
        try:
            return self._steps.send(request)
        except StopIteration as end:
            self._result = end.value if end.value is not None else self._result
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Ask the run to stop at its next report, and to keep the best image so far."""
        self._stop = True

    def request_preview(self) -> None:
        """Ask for an image: `Progress.image` of one of the next reports."""
        self._preview = True

    def close(self) -> None:
        """Cancel the run, if it is not finished, and free its memory."""
        self._steps.close()

    @property
    def result(self) -> Result:
        """The result; a run that is not finished is run to its end.

        Raises
        ------
        RuntimeError
            If the run was cancelled.
        """
        if self._result is None:
            for _ in self:
                pass
        if self._result is None:
            raise RuntimeError("the run was cancelled and has no result")
        return self._result
