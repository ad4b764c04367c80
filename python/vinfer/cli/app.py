"""The verbs of `vinfer`, and the help that is common to them."""

from __future__ import annotations

from typing import Annotated

import typer

import vinfer
from vinfer.cli import doctor, evaluate, explain, export, inspect, run, sprites, train
from vinfer.cli.exit_codes import MEANING

_EXIT_CODES = "Exit codes: " + "; ".join(f"{code} {text}" for code, text in MEANING.items()) + "."

app = typer.Typer(
    name="vinfer",
    help="Who does what to what in your video: from frames to <subject, predicate, object> events.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vinfer {vinfer.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show tracebacks and all log lines; may stand anywhere. Also: VINFER_DEBUG=1.",
        ),
    ] = False,
) -> None:
    """Options before the verb; `main` has taken --debug out already."""


app.command("run", epilog=run.EXAMPLE)(run.run)
app.command("explain", epilog=explain.EXAMPLE)(explain.explain)
app.command("export", epilog=export.EXAMPLE)(export.export)
app.add_typer(train.app, name="train")
app.command("sprites", epilog=sprites.EXAMPLE)(sprites.sprites)
app.command("inspect", epilog=inspect.EXAMPLE)(inspect.inspect)
app.add_typer(evaluate.app, name="eval")
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)
