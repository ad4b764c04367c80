"""Finding bundles by path and by name."""

from pathlib import Path

import pytest

from vinfer.bundles import default_bundle_dir, find_bundle, known_bundles
from vinfer.bundles import find as finding
from vinfer.errors import BundleNotFoundError


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two listed folders, a cache, a shipped folder and a working folder of the test's own."""
    names = ("first", "second", "cache/vinfer/bundles", "package/shipped", "cwd")
    found = {Path(name).name: tmp_path / name for name in names}
    for folder in found.values():
        folder.mkdir(parents=True)
    monkeypatch.setenv("VINFER_BUNDLES", f"{found['first']}::{found['second']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(finding, "__file__", str(tmp_path / "package" / "find.py"))
    monkeypatch.chdir(found["cwd"])
    return found


def put_file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.vinfer"
    path.touch()
    return path


def put_folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    (folder / name / "manifest.json").touch()
    return folder / name


def test_order_of_folders(places: dict[str, Path]) -> None:
    expected = []
    for place in ("shipped", "bundles", "second", "first"):
        expected.append(put_file(places[place], "relations"))
        assert find_bundle("relations") == expected[-1]


def test_file_before_folder_of_the_same_name(places: dict[str, Path]) -> None:
    folder = put_folder(places["first"], "relations")
    assert find_bundle("relations") == folder
    file = put_file(places["first"], "relations")
    assert find_bundle("relations") == file
    assert find_bundle("relations.vinfer") == file


def test_a_path_wins_over_a_name(places: dict[str, Path]) -> None:
    put_file(places["first"], "relations")
    here = put_folder(places["cwd"], "relations")
    assert find_bundle("relations").resolve() == here
    assert find_bundle(here) == here


def test_an_output_folder_does_not_hide_a_bundle(places: dict[str, Path]) -> None:
    (places["cwd"] / "relations").mkdir()
    assert find_bundle("relations") == Path("relations")  # Bundle.open says what is wrong
    known = put_file(places["first"], "relations")
    assert find_bundle("relations") == known


def test_home_is_expanded(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(places["cwd"]))
    monkeypatch.delenv("XDG_CACHE_HOME")
    path = put_file(places["cwd"], "mine")
    assert find_bundle("~/mine.vinfer") == path
    monkeypatch.delenv("VINFER_BUNDLES")
    assert default_bundle_dir() == places["cwd"] / ".cache" / "vinfer" / "bundles"


def test_default_folder(places: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_bundle_dir() == places["first"]
    monkeypatch.setenv("VINFER_BUNDLES", "")
    assert default_bundle_dir() == places["bundles"]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/cache")
    assert default_bundle_dir().is_absolute()
    assert "relative" not in default_bundle_dir().parts


def test_known_bundles(places: dict[str, Path]) -> None:
    first = put_file(places["first"], "a")
    put_file(places["bundles"], "a")
    shipped = put_folder(places["shipped"], "b")
    (places["second"] / "no-manifest").mkdir()
    (places["second"] / "c.onnx").touch()
    assert known_bundles() == {"a": first, "b": shipped}


def test_not_found_names_folders_and_nearest(places: dict[str, Path]) -> None:
    put_file(places["second"], "relation-prior")
    with pytest.raises(BundleNotFoundError) as caught:
        find_bundle("relations-prior")
    message = str(caught.value)
    for folder in ("first", "second", "bundles", "shipped"):
        assert str(places[folder]) in message
    assert "nearest known: relation-prior" in message
    assert "vinfer export" not in message


@pytest.mark.parametrize("name", ["ssd-mobilenet-v2-coco", "ssd-mobilenet-coco", "no-such-thing"])
def test_not_found_names_the_command(name: str) -> None:
    with pytest.raises(BundleNotFoundError, match="vinfer export ssd-mobilenet-v2-coco"):
        find_bundle(name)


def test_not_found_lists_what_is_known(places: dict[str, Path]) -> None:
    put_file(places["second"], "relation-prior")
    with pytest.raises(BundleNotFoundError, match="known: relation-prior"):
        find_bundle("zzz")


@pytest.mark.parametrize("path", ["./none.vinfer", "/none/at/all", "a/" + "x" * 5000])
def test_missing_path(path: str) -> None:
    with pytest.raises(BundleNotFoundError, match="no such file or folder; check the path"):
        find_bundle(path)


@pytest.mark.parametrize("name", ["", "x" * 5000, "nul\0byte", "..", "../first"])
def test_odd_names(name: str) -> None:
    try:
        path = find_bundle(name)
    except BundleNotFoundError:
        return
    assert path.exists()  # "..": a folder, which Bundle.open refuses
