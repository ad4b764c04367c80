"""One exception tree, an exit code a kind, and no error class that the docstring forgets."""

import inspect

import pytest

from vinfer import errors

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if value.__module__ == errors.__name__
]


def test_one_root() -> None:
    assert all(issubclass(cls, errors.VinferError) for cls in CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_each_class_stands_in_the_tree_of_the_docstring(cls: type[errors.VinferError]) -> None:
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__
    assert cls.__doc__


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.DTypeError, TypeError),
        (errors.InvalidBoxError, ValueError),
        (errors.ConfigError, ValueError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_built_in_bases(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)


def test_a_package_that_is_there_and_can_not_be_loaded_is_told_apart() -> None:
    absent = errors.MissingDependencyError.of("OpenCV", "video", ModuleNotFoundError("no cv2"))
    assert str(absent) == "OpenCV is not installed; install it with: pip install 'vinfer[video]'"
    broken = errors.MissingDependencyError.of("OpenCV", "video", ImportError("libxcb.so.1: no"))
    assert "can't be loaded: libxcb.so.1: no" in str(broken)
    assert "pip install opencv-python-headless" in str(broken)


def test_exit_codes_by_kind() -> None:
    codes = {cls.__name__: cls.exit_code for cls in CLASSES}
    assert codes == {
        "VinferError": 1,
        "InputError": 3,
        "ShapeError": 3,
        "DTypeError": 3,
        "InvalidBoxError": 3,
        "ConfigError": 2,
        "SourceError": 3,
        "SourceNotFoundError": 3,
        "UnsupportedSourceError": 3,
        "TruncatedSourceError": 3,
        "BundleError": 4,
        "BundleNotFoundError": 4,
        "BundleIntegrityError": 4,
        "BundleSchemaError": 4,
        "BackendError": 4,
        "ProviderUnavailableError": 6,
        "ModelOutputError": 4,
        "OutputError": 5,
        "TrainingError": 7,
        "MissingDependencyError": 6,
    }
