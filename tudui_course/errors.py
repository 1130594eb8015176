"""Errors that a user can mend: one sentence with the way out, and the exit code of the command line.

Each is also the built-in error that a caller from Python would expect. Anything else that is raised is a fault of the
package and shows its traceback. This module imports nothing, so that `tudui --help` answers at once.
"""


class CourseError(Exception):
    """Base of all errors that a user can mend.

    Attributes:
        exit_code: what the command line exits with.
    """

    exit_code = 2


class InputError(CourseError, ValueError):
    """A setting, a file's content or a combination of flags can't be used."""


class DamagedError(InputError):
    """A file's bytes are not those that were written, or it is no such file at all."""


class NotFoundError(CourseError, FileNotFoundError):
    """A file or folder that was named isn't there."""


class StorageError(CourseError, OSError):
    """Something can't be written: the disk is full or the folder is read-only. What was there before is intact."""


class DownloadError(CourseError, RuntimeError):
    """No source delivered the data set."""


class DivergedError(CourseError, RuntimeError):
    """The loss or a weight became NaN or infinite; training on would not help."""

    exit_code = 1


class LostError(CourseError, RuntimeError):
    """Another process of the same training didn't come, or is gone."""

    exit_code = 1


class StoppedError(CourseError):
    """A run was stopped by a signal and saved.

    Attributes:
        exit_code: 128 plus the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CourseWarning(UserWarning):
    """Something works less well than one may expect; the command line prints it as one sentence."""
