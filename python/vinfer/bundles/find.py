"""Where bundles lie: by path, or by name in the folders for bundles."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from vinfer.cache_folder import cache_folder
from vinfer.errors import BundleNotFoundError

SUFFIX = ".vinfer"
MANIFEST_NAME = "manifest.json"

# The exporter stands above this layer, yet an error about a missing bundle has to say what to type.
EXPORTABLE = ("ssd-mobilenet-v2-coco",)


def default_bundle_dir() -> Path:
    """The folder that new bundles go to; it need not exist yet.

    The first folder of ``$VINFER_BUNDLES`` where that is set, else the cache folder
    (``$XDG_CACHE_HOME``, else ``~/.cache``) + ``vinfer/bundles``.
    """
    return _bundle_dirs()[0]


def known_bundles() -> dict[str, Path]:
    """Every bundle that can be opened by name: name to path of the ``.vinfer`` file or folder.

    Looks in the folders of ``$VINFER_BUNDLES`` (a list as in ``$PATH``), in the cache folder and
    among the bundles that are shipped in the package; the first folder that has a name wins, and in
    one folder the file wins over the folder. Nothing is opened.
    """
    found: dict[str, Path] = {}
    for folder in _bundle_dirs():
        for path in _entries(folder):
            if path.suffix == SUFFIX and path.is_file():
                found.setdefault(path.stem, path)
        for path in _entries(folder):
            if (path / MANIFEST_NAME).is_file():
                found.setdefault(path.name.removesuffix(SUFFIX), path)
    return found


def find_bundle(name_or_path: str | Path) -> Path:
    """The path of a bundle.

    Args:
        name_or_path: a path, or a name as `known_bundles` lists it (with or without ``.vinfer``).
            What lies at the path wins over the name, unless it is a folder without a manifest:
            an output folder that happens to be called like a bundle does not hide it.

    Raises:
        BundleNotFoundError: neither; the message names the folders looked in, the nearest known
            names and, for a bundle that can be made here, the command that makes it.
    """
    path = Path(name_or_path).expanduser()
    if _exists(path) and (path.is_file() or (path / MANIFEST_NAME).is_file()):
        return path
    name = str(name_or_path).removesuffix(SUFFIX)
    known = known_bundles()
    if name in known:
        return known[name]
    if _exists(path):
        return path  # Bundle.open says best what is wrong with it.
    raise BundleNotFoundError(_not_found(name_or_path, name, known))


def how_to_get(name: str) -> str:
    """What to type, or do, to have a sound copy of the bundle ``name``."""
    if name in EXPORTABLE:
        return f"make it again with: vinfer export {name}"
    return "copy it again from where you got it, or pack it again"


def _bundle_dirs() -> list[Path]:
    listed = os.environ.get("VINFER_BUNDLES", "").split(os.pathsep)
    return [
        *(Path(folder).expanduser() for folder in listed if folder),
        cache_folder() / "bundles",
        Path(__file__).parent / "shipped",
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # absent or not readable: nothing can be opened from there by name
        return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for a file name, or below a folder that may not be read
        return False


def _not_found(name_or_path: str | Path, name: str, known: dict[str, Path]) -> str:
    asked = str(name_or_path)
    if os.sep in asked:
        return f"no bundle at {asked!r}: there is no such file or folder; check the path"
    folders = ", ".join(map(str, _bundle_dirs()))
    parts = [f"no bundle {asked!r}: not a path from here, nor a name in {folders}"]
    nearest = difflib.get_close_matches(name, sorted({*known, *EXPORTABLE} - {name}), cutoff=0.5)
    if name in EXPORTABLE:
        parts.append(f"make it with: vinfer export {name}")
    elif nearest:
        parts.append(f"nearest known: {', '.join(nearest)}")
        parts += [f"make it with: vinfer export {n}" for n in nearest if n not in known]
    elif known:
        parts.append(f"known: {', '.join(sorted(known))}")
    else:
        parts.append(f"can be made here: vinfer export {EXPORTABLE[0]}")
    return "; ".join(parts)
