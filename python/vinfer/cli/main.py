"""Entry point of `vinfer`: runs a verb, turns every failure into one message and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

from vinfer.cli import exit_codes
from vinfer.cli.interrupt import Interrupted, signals_raise
from vinfer.errors import VinferError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows `vinfer`; None for those of this process.

    Returns:
        The exit code (`vinfer.cli.exit_codes`).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Accepted anywhere, as it is added in haste to the end of a line that failed.
    debug = "--debug" in given or bool(os.environ.get("VINFER_DEBUG"))
    given = [argument for argument in given if argument != "--debug"]
    as_json = "--json" in given
    try:
        with signals_raise():
            return _run_app(given, debug)
    except Interrupted as exc:
        _explain(str(exc), "Interrupted", exc.exit_code, as_json)
        return exc.exit_code
    except VinferError as exc:
        if debug:
            traceback.print_exc()
        _explain(str(exc), type(exc).__name__, exc.exit_code, as_json)
        return exc.exit_code
    except Exception as exc:
        if debug:
            traceback.print_exc()
        message = (
            f"unexpected {type(exc).__name__}: {exc}\nThis is a fault in vinfer or in a package it "
            "uses. Run the same line with --debug for the traceback and report it together with "
            "the output of `vinfer doctor`."
        )
        _explain(message, type(exc).__name__, exit_codes.UNEXPECTED, as_json)
        return exit_codes.UNEXPECTED


def _run_app(arguments: Sequence[str], debug: bool) -> int:
    try:
        from vinfer.cli.app import app
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in {"typer", "rich", "click"}:
            raise
        sys.stderr.write(
            f"vinfer: the command line needs the package {exc.name}: pip install 'vinfer[video]'\n"
        )
        return exit_codes.MISSING
    from vinfer.cli.console import log_to_stderr

    try:
        with log_to_stderr(debug):
            app(list(arguments), prog_name="vinfer")
    except SystemExit as exc:  # how typer ends, also after --help and on wrong usage
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return exit_codes.OK


def _explain(message: str, kind: str, code: int, as_json: bool) -> None:
    sys.stderr.write(f"vinfer: {message}\n")
    if as_json:
        error = {"kind": kind, "message": message, "exit_code": code}
        with contextlib.suppress(OSError):  # it may be stdout that can't be written
            sys.stdout.write(json.dumps({"error": error}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
