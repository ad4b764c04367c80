"""Explanations for the report of a run, of its best events."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vinfer.cli.console import counted, note
from vinfer.cli.interrupt import Interrupted
from vinfer.engine import Engine
from vinfer.errors import VinferError
from vinfer.explain import check_readable_twice, explain_events, score_history
from vinfer.report.page import Explained
from vinfer.types import RunSummary

_logger = logging.getLogger(__name__)


class ReportExplanations:
    """Explains the best events when the run has ended; what fails here is not worth the report.

    Attributes:
        history: sink that must see the run.
    """

    def __init__(
        self, engine: Engine, source: str, number: int, check_stop: Callable[[], None]
    ) -> None:
        """Begin a run.

        Args:
            engine: what runs.
            source: what it runs on.
            number: how many events to explain, >= 1.
            check_stop: raises `Interrupted` when the user has had enough.

        Raises:
            UnsupportedSourceError: the source can't be read twice.
        """
        check_readable_twice(source)
        self.history = score_history(engine, keep=number)
        self._engine = engine
        self._source = source
        self._check_stop = check_stop

    def __call__(self, summary: RunSummary) -> dict[str, Explained]:
        """Explanations by event id; none of a run that was cut short, which is to end soon."""
        from vinfer.explain.picture import explanation_jpeg

        explained: dict[str, Explained] = {}
        events = self.history.events()
        if not (summary.complete and events):
            return explained
        note(f"{summary.stream.name}: explaining {counted(len(events), 'event')}")
        try:
            for why in explain_events(
                self._engine,
                self._source,
                events,
                self.history.trace,
                on_progress=lambda done, total: self._check_stop(),
            ):
                explained[why.event.event_id] = Explained(explanation_jpeg(why), why.to_text())
                self._check_stop()
        except VinferError as exc:
            _logger.warning("the report explains %d of %d: %s", len(explained), len(events), exc)
        except Interrupted:
            pass  # the caller checks, too, when the files are finished
        return explained
