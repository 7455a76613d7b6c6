"""Errors whose text is one sentence for the user: what is wrong, where, and what to do."""


class RestorationError(Exception):
    """A restoration that cannot start or continue.

    It is no `RuntimeError` on purpose: superqt's generator workers swallow those.
    """


class RestorationWarning(UserWarning):
    """A result that has to be checked, or that failed: its assessment."""


class ReadWarning(UserWarning):
    """What was assumed, left out or found wrong when a file was read."""


class ObservationError(RestorationError, ValueError):
    """Data that cannot be restored as they are: all missing, constant, too small, complex ..."""


class SettingsError(RestorationError, ValueError):
    """A recipe that does not exist, or a setting that is unknown or out of bounds.

    `setting` is the dotted name of the setting at fault, or empty.
    """

    def __init__(self, text: str, *, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting


class DivergenceError(RestorationError):
    """A fit that diverged before there was an image to keep."""


class DeviceError(RestorationError):
    """A device that is missing, or out of memory."""


class InsufficientMemoryError(DeviceError):
    """A device whose memory is full; smaller tiles may fit."""


class ReadError(RestorationError, ValueError):
    """A file that cannot be read as an image."""


class WriteError(RestorationError, OSError):
    """A result that cannot be written to the given path."""


def describe_unexpected(error: BaseException, *, where: str) -> str:
    """Return a sentence about an error that no part of the package foresaw.

    Parameters
    ----------
    error : BaseException
        What was raised.
    where : str
        Where its traceback can be found, as a clause: ``"the log has the traceback"``.
    """
    text = str(error).strip().split("\n")[0]
    reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"unexpected error ({reason}); please report it: {where}"
