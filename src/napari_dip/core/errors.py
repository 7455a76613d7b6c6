"""What can go wrong, each told in one sentence that says what, where and what to do."""


class RestorationError(Exception):
    """A restoration that cannot start or go on; its text is meant for the person at the desk.

    It is deliberately no `RuntimeError`: superqt's generator workers swallow those.
    """


class ObservationError(RestorationError, ValueError):
    """The pixels cannot be restored as they are (all missing, constant, too small, complex ...)."""


class SettingsError(RestorationError, ValueError):
    """A recipe that does not exist, or a setting that is unknown or out of bounds.

    `setting` is its name with dots, where one is to blame.
    """

    def __init__(self, text: str, *, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting


class DeviceError(RestorationError):
    """The device asked for is absent, or ran out of memory."""


class InsufficientMemoryError(DeviceError):
    """The device's memory is full; with less to do at once it might not be."""


class ReadError(RestorationError, ValueError):
    """A file that cannot be read as an image."""


class WriteError(RestorationError, OSError):
    """A result that cannot be written where it was asked for."""
