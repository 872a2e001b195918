"""The one exception tree of fashionseg.

Every error a user can cause or meet is a `FashionsegError` whose message is one sentence that names the file
and says what to do. The command line prints that sentence and exits with `exit_code`; nothing else in the
library knows about exit codes.
"""

from __future__ import annotations

TRAIN_INSTALL = (
    "python -m pip install torch torchvision 'setuptools<81' wheel"
    " && python -m pip install --no-build-isolation 'fashionseg[train]'"
)
"""What installs the extra "train": Detectron2's set-up imports torch, so one command cannot do both."""


class FashionsegError(Exception):
    """Root of all errors raised on purpose by fashionseg."""

    exit_code = 1


class ModelError(FashionsegError):
    """A model file is missing, damaged, of a newer format, or not one of ours."""


class DeviceError(FashionsegError):
    """The device asked for is not there or cannot be used."""


class OutOfMemoryError(DeviceError):
    """The backend could not allocate memory for a batch; a smaller batch may fit."""


class MediaError(FashionsegError):
    """A photo or video cannot be found, opened or decoded. It costs itself only: the run goes on."""


class OutputError(FashionsegError):
    """The output cannot be written: disk full, folder removed, read-only, or used by another run."""


class DataError(FashionsegError):
    """A data set or an annotation file is missing, damaged or inconsistent."""


class CheckpointError(FashionsegError):
    """A file of weights is missing, damaged, or would run code when it is read."""


class ExportError(FashionsegError):
    """A checkpoint cannot be turned into a model file."""


class TrainingError(FashionsegError):
    """Training cannot start or go on."""


class QualityError(FashionsegError):
    """A check of quality failed: parity after export, `--require` in evaluate or bench."""

    exit_code = 4


class MissingExtraError(FashionsegError):
    """An optional dependency is not installed; the message holds the command that installs it."""

    def __init__(self, package: str, extra: str) -> None:
        command = TRAIN_INSTALL if extra == "train" else f"pip install 'fashionseg[{extra}]'"
        super().__init__(f"{package} is not installed; install it with: {command}")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """So that it survives the way back from a worker process."""
        return type(self), (self.package, self.extra)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library's error says that host or device memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(sign in str(error) for sign in ("not enough memory", "can't allocate memory", "out of memory"))
