"""The bundles that `vinfer export NAME` can make."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

from vinfer.errors import ConfigError
from vinfer.export import ssd_bundle
from vinfer.export.download import Progress

EXPORTS: Mapping[str, Callable[[Path | None, Path | None, Progress], Path]] = {
    ssd_bundle.NAME: ssd_bundle.export_ssd,
}


def export(
    name: str,
    output: Path | None = None,
    source: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a bundle of published weights.

    Args:
        name: one of `EXPORTS`.
        output: the bundle to write; default ``NAME.vinfer`` in the folder for bundles.
        source: the file with the weights; default: downloaded by pip into the cache folder, where
            it stays for the next time.
        progress: takes a line for each step.

    Returns:
        The bundle's path.

    Raises:
        ConfigError: no such name.
        BundleError: the weights can't be had or read.
        BundleIntegrityError: they are not the ones this export was made for.
        ModelOutputError: the converted graph does not compute what it should.
        MissingDependencyError: onnx is not installed.
        OutputError: the bundle can't be written.
    """
    if name not in EXPORTS:
        nearest = difflib.get_close_matches(name, EXPORTS, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(f'found export "{name}", expected one of {", ".join(EXPORTS)}{hint}')
    return EXPORTS[name](output, source, progress or (lambda _: None))
