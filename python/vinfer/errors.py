"""The exception tree: catch `VinferError` to catch everything vinfer raises on purpose.

    VinferError
    ├── InputError            arrays or images handed to us are not what is needed
    │   ├── ShapeError            wrong shape           (also a ValueError)
    │   ├── DTypeError            wrong dtype           (also a TypeError)
    │   └── InvalidBoxError       non-finite or inverted box (also a ValueError)
    ├── ConfigError           a setting is unknown or out of range (also a ValueError)
    ├── SourceError           a video, image folder or camera can't be opened or read
    │   ├── SourceNotFoundError   nothing at that path or address
    │   ├── UnsupportedSourceError  not a video or image, or without a video stream
    │   └── TruncatedSourceError  it ended or broke in the middle
    ├── BundleError           a bundle can't be used
    │   ├── BundleNotFoundError   no bundle of that name or path
    │   ├── BundleIntegrityError  a file is missing, too large or has another hash
    │   └── BundleSchemaError     the manifest is invalid or of a newer schema
    ├── BackendError          a graph can't be loaded or run
    │   ├── ProviderUnavailableError  the execution provider can't be had on this machine
    │   └── ModelOutputError      non-finite values or unexpected shapes came out
    ├── OutputError           a result can't be written (disk full, no permission)
    ├── TrainingError         training can't start or diverged
    └── MissingDependencyError  an optional package is missing or broken (also an ImportError)

Each message says what was found, what was expected and what to do. `exit_code` is what the
command line ends with for that kind.
"""

from __future__ import annotations


class VinferError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class InputError(VinferError):
    """An argument is not what the function needs."""

    exit_code = 3


class ShapeError(InputError, ValueError):
    """An array has the wrong shape."""


class DTypeError(InputError, TypeError):
    """An array has the wrong dtype."""


class InvalidBoxError(InputError, ValueError):
    """A box is not finite, or its corners are inverted."""


class ConfigError(VinferError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class SourceError(VinferError):
    """A source can't be opened or read."""

    exit_code = 3


class SourceNotFoundError(SourceError):
    """There is nothing at that path or address."""


class UnsupportedSourceError(SourceError):
    """What is there is no video or image that can be decoded."""


class TruncatedSourceError(SourceError):
    """The source broke off in the middle; frames before that were delivered."""


class BundleError(VinferError):
    """A bundle can't be used."""

    exit_code = 4


class BundleNotFoundError(BundleError):
    """There is no bundle of that name or at that path."""


class BundleIntegrityError(BundleError):
    """A file of the bundle is missing, too large, or not the one that was packed."""


class BundleSchemaError(BundleError):
    """The manifest is not valid, or of a schema this version can't read."""


class BackendError(VinferError):
    """A graph can't be loaded or run."""

    exit_code = 4


class ProviderUnavailableError(BackendError):
    """The execution provider that was asked for can't be had on this machine."""

    exit_code = 6


class ModelOutputError(BackendError):
    """A model gave non-finite values or shapes that its manifest does not promise."""


class OutputError(VinferError):
    """A result can't be written."""

    exit_code = 5


class TrainingError(VinferError):
    """Training can't start with this data, or did not stay finite."""

    exit_code = 7


class MissingDependencyError(VinferError, ImportError):
    """An optional package is needed and not installed, or can't be loaded."""

    exit_code = 6

    @classmethod
    def of(cls, package: str, extra: str, cause: ImportError) -> MissingDependencyError:
        """The error for a failed import.

        Args:
            package: its name as people say it.
            extra: the extra of vinfer that installs it.
            cause: what the import raised. Anything but "no such module" means that the package is
                there and a library of the system is not; of those used here that is OpenCV, whose
                usual build needs the libraries of a desktop.
        """
        if isinstance(cause, ModuleNotFoundError):
            return cls(
                f"{package} is not installed; install it with: pip install 'vinfer[{extra}]'"
            )
        return cls(
            f"{package} is installed and can't be loaded: {cause}. On a machine without a desktop "
            "OpenCV needs its headless build: pip uninstall -y opencv-python; "
            "pip install opencv-python-headless"
        )
