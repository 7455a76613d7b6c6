"""The sessions of closed docks: their runs go on, and the next dock of the same task shows them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from napari_dip.core.result import Result
from napari_dip.plugin.session.forecast_worker import Forecast
from napari_dip.plugin.session.run import State
from napari_dip.plugin.session.session import Session

if TYPE_CHECKING:
    import napari

_left: MutableMapping[Any, dict[str, Session]] = weakref.WeakKeyDictionary()  # by window and task


def take_session(viewer: napari.viewer.Viewer, task: str) -> Session:
    """Return the session that the last dock of this task has left in the viewer, or a new one."""
    window = _window_of(viewer)
    session = _left.get(window, {}).pop(task, None) if window is not None else None
    if session is None or session.closed:
        return Session(viewer)
    for signal in (session.shown, session.message):
        signal.disconnect()
    return session


def leave_session(viewer: napari.viewer.Viewer, task: str, session: Session) -> None:
    """Keep the session of a dock that is closed: what it says is shown as a notification."""
    for signal in (
        session.changed,
        session.progressed,
        session.message,
        session.finished,
        session.shown,
    ):
        signal.disconnect()
    session.shown.connect(_tell_result)
    session.message.connect(_tell)
    window = _window_of(viewer)
    if window is None:
        session.close()
        return
    if window not in _left:
        _left[window] = {}
        reference = weakref.ref(window)
        window._qt_window.destroyed.connect(lambda: _close_sessions(reference()))
    _left[window][task] = session
    if session.state != State.IDLE:
        show_info("The run goes on. Open the dock again to watch or stop it.")


def _close_sessions(window: Any) -> None:
    """Discard the runs whose docks were closed before their window was."""
    for session in _left.pop(window, {}).values() if window is not None else ():
        session.close()


def _window_of(viewer: napari.viewer.Viewer) -> Any:
    window = getattr(viewer, "window", None)  # a model of a viewer has none
    return getattr(window, "__wrapped__", window)  # napari gives docks a proxy


def _tell_result(result: Result) -> None:
    show_info(f"{result.assessment.level.capitalize()}: {'; '.join(result.assessment.reasons)}")


def _tell(sentence: str, error: bool) -> None:  # noqa: FBT001 - a signal's signature
    show_info(sentence)


def close_all(*parts: Session | Forecast) -> Callable[[], None]:
    """Return a function that closes `parts` without keeping them alive: its caller may live longer."""
    references = [weakref.ref(part) for part in parts]

    def close() -> None:
        for reference in references:
            if (part := reference()) is not None:
                part.close()

    return close
