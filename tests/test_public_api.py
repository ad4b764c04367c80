"""The names that users may rely on."""

from types import ModuleType

import vinfer


def test_public_names_are_listed() -> None:
    names = [name for name in dir(vinfer) if not name.startswith("_")]
    public = {n for n in names if not isinstance(getattr(vinfer, n), ModuleType)} - {
        "Any",
        "TYPE_CHECKING",
        "annotations",
    }
    assert sorted(public | {"ops"}) == sorted(vinfer.__all__)


def test_every_listed_name_is_there_and_documented() -> None:
    for name in vinfer.__all__:
        assert (getattr(vinfer, name).__doc__ or "").strip(), name


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(vinfer, "Engin")
