"""Backend ``auto``: the fastest of those installed that compute the same, measured once and kept.

The first candidate, ONNX Runtime, is the reference. Each other one has to give its outputs first,
then all take turns. docs/backends.md says what that is worth.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vinfer import __version__
from vinfer.backends import onnxruntime, openvino
from vinfer.backends.agreement import TOLERANCE, difference, sample_inputs
from vinfer.backends.base import (
    Array,
    Backend,
    Precision,
    Session,
    SessionInfo,
    SessionOptions,
    TensorSpec,
)
from vinfer.backends.choice_record import (
    Measured,
    Record,
    make_key,
    read_record,
    record_path,
    write_record,
)
from vinfer.backends.turns import take_turns
from vinfer.errors import ConfigError, VinferError
from vinfer.threads import usable_threads

_logger = logging.getLogger(__name__)

ROUNDS = 9
MIN_ROUNDS = 3
MAX_SECONDS = 3.0
# The reference's results are the ones that were promised; less than this is not worth others.
MARGIN = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a graph on the CPU.

    Attributes:
        backend, precision: what is loaded.
        version: of the library; another one is measured anew.
        load: as `vinfer.backends.load`.
    """

    backend: Backend
    precision: Precision
    version: str
    load: Callable[[bytes, SessionOptions], Session]

    @property
    def name(self) -> str:
        """Backend and precision."""
        return f"{self.backend} {self.precision}"


def installed(allowed_precisions: Sequence[Precision] = ("float32",)) -> list[Candidate]:
    """The candidates of this machine, the reference first.

    Args:
        allowed_precisions: what the model's own metric allows, besides what the processor can do.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    found = [Candidate("onnxruntime", "float32", onnxruntime.version(), onnxruntime.load)]
    openvino_version = openvino.version()
    if openvino_version is not None:
        found += [
            Candidate("openvino", precision, openvino_version, openvino.load)
            for precision in openvino.precisions()
            if precision in allowed_precisions
        ]
    return found


def load(
    graph: bytes,
    options: SessionOptions,
    *,
    sample: Mapping[str, Array] | None = None,
    allowed_precisions: Sequence[Precision] = ("float32",),
) -> Session:
    """Load a graph in the backend that runs it fastest here.

    Where CUDA is asked for or can be had, that is ONNX Runtime without a measurement.

    Args:
        graph: bytes of the ONNX file.
        options: ``backend`` is not looked at.
        sample: inputs to compare and measure with; None for `vinfer.backends.agreement`'s.
        allowed_precisions: what the model's own metric allows.

    Raises:
        ConfigError: the options name a precision.
        BackendError, ProviderUnavailableError, MissingDependencyError: as ONNX Runtime's.
    """
    if options.precision != "float32":
        raise ConfigError(
            f"precision: found {options.precision!r} with backend auto, which measures what a "
            "bundle allows; name the backend"
        )
    options = dataclasses.replace(options, backend="onnxruntime")
    if options.provider == "cuda" or (options.provider == "auto" and onnxruntime.has_cuda()):
        session = onnxruntime.load(graph, options)
        if session.describe().providers[0] != "CPUExecutionProvider":
            return ChosenSession(session, "backend auto: onnxruntime, which alone has CUDA")
        session.close()
    return choose(graph, options, installed(allowed_precisions), sample=sample)


def choose(
    graph: bytes,
    options: SessionOptions,
    candidates: Sequence[Candidate],
    *,
    sample: Mapping[str, Array] | None = None,
) -> ChosenSession:
    """Load a graph in the fastest of some candidates; one log line says which and why.

    Args:
        graph, options, sample: as for `load`.
        candidates: at least one. The first is the reference, and its errors are raised; another
            one that fails or disagrees is refused and named.
    """
    if len(candidates) == 1:
        (only,) = candidates
        note = f"backend auto: {only.name}, as no other is installed; docs/backends.md says how"
        return _chosen(only.load(graph, _for(only, options)), note)
    key = make_key(
        graph,
        {"vinfer": __version__} | {each.backend: each.version for each in candidates},
        threads=options.threads or usable_threads(),
        concurrent_runs=options.concurrent_runs,
        candidates=[each.name for each in candidates],
        sample=sample,
    )
    record = read_record(key)
    if record is not None:
        # There is one: the key, which the record agrees with, has the candidates' names.
        winner = next(each for each in candidates if each.name == record.chosen)
        session = winner.load(graph, _for(winner, options))
        return _chosen(session, f"{_told(record)}; kept in {record_path(key)}")
    record, session = _measured(graph, options, candidates, sample, key)
    write_record(record)
    is_refused = any(each.refused for each in record.candidates)
    return _chosen(session, _told(record), logging.WARNING if is_refused else logging.INFO)


class ChosenSession:
    """A session that says why it was chosen; a `vinfer.backends.base.Session`."""

    def __init__(self, session: Session, note: str) -> None:
        self._session = session
        self._note = note

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The graph's inputs."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs."""
        return self._session.outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; see `vinfer.backends.base.Session.run`."""
        return self._session.run(inputs)

    def describe(self) -> SessionInfo:
        """What really runs, and why."""
        info = self._session.describe()
        return dataclasses.replace(info, notes=(*info.notes, self._note))

    def close(self) -> None:
        """Free the graph's memory, once runs in other threads have ended; may be called again."""
        self._session.close()


def _measured(
    graph: bytes,
    options: SessionOptions,
    candidates: Sequence[Candidate],
    sample: Mapping[str, Array] | None,
    key: dict[str, Any],
) -> tuple[Record, Session]:
    """What was found of each candidate, and the best one's session."""
    sessions: dict[str, Session] = {}
    refused: dict[str, str] = {}
    with contextlib.ExitStack() as closing:
        reference = candidates[0].load(graph, _for(candidates[0], options))
        closing.callback(reference.close)
        sessions[candidates[0].name] = reference
        inputs = sample_inputs(reference.inputs) if sample is None else sample
        expected = reference.run(inputs)
        for each in candidates[1:]:
            try:
                session = each.load(graph, _for(each, options))
                reason = _difference(session, each.precision, inputs, expected)
            except VinferError as exc:
                refused[each.name] = str(exc)
                continue
            if reason is not None:
                session.close()
                refused[each.name] = reason
                continue
            closing.callback(session.close)
            sessions[each.name] = session
        rounds = _timed(list(sessions.values()), inputs, options.concurrent_runs)
        closing.pop_all()
    times = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    medians = dict(zip(sessions, times, strict=True))
    best = min(medians, key=lambda name: medians[name])
    if medians[best] > (1 - MARGIN) * medians[candidates[0].name]:
        best = candidates[0].name
    for name, session in sessions.items():
        if name != best:
            session.close()
    found = tuple(
        Measured(
            backend=each.backend,
            precision=each.precision,
            median_ms=round(1e3 * medians[each.name], 4) if each.name in medians else None,
            refused=refused.get(each.name, ""),
        )
        for each in candidates
    )
    return Record(key=key, chosen=best, candidates=found, rounds=len(rounds)), sessions[best]


def _difference(
    session: Session,
    precision: Precision,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> str | None:
    try:
        return difference(expected, session.run(inputs), TOLERANCE[precision])
    except VinferError as exc:
        return str(exc)


def _timed(
    sessions: Sequence[Session], sample: Mapping[str, Array], concurrent_runs: int
) -> list[list[float]]:
    """Seconds of each session in each round."""
    with ThreadPoolExecutor(concurrent_runs) as pool:

        def run(session: Session) -> None:
            for each in [pool.submit(session.run, sample) for _ in range(concurrent_runs)]:
                each.result()

        return take_turns(
            [functools.partial(run, session) for session in sessions],
            rounds=ROUNDS if len(sessions) > 1 else 1,
            min_rounds=MIN_ROUNDS,
            max_seconds=MAX_SECONDS,
        )


def _for(candidate: Candidate, options: SessionOptions) -> SessionOptions:
    return dataclasses.replace(options, backend=candidate.backend, precision=candidate.precision)


def _told(record: Record) -> str:
    runs = record.key["concurrent_runs"]
    rounds = f"{record.rounds} rounds" + (f" of {runs} runs at once" if runs > 1 else "")
    found = ", ".join(map(str, record.candidates))
    return f"backend auto: {record.chosen}, median of {rounds}: {found}"


def _chosen(session: Session, note: str, level: int = logging.INFO) -> ChosenSession:
    _logger.log(level, note)
    return ChosenSession(session, note)
