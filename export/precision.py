"""Which precisions a model stands: each is measured on the model's own task, then taken or not.

A variant is accepted when none of the task's figures falls by more than is allowed. What was
measured is a record for the bundle's manifest, refusals included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vinfer.backends import Backend, Precision, Session, SessionOptions, load, openvino
from vinfer.backends.base import Array
from vinfer.backends.processor import this_processor
from vinfer.backends.turns import take_turns
from vinfer.errors import BackendError, InputError, VinferError
from vinfer.export.quantization import quantize_int8
from vinfer.export.rounding import emulate_bfloat16, store_float16
from vinfer.types import Float32Array

if TYPE_CHECKING:
    import onnx

MAX_LOSS = 0.01
ROUNDS = 7
RUN_TIME = "run time"
GRAPH = "graph"
EMULATED = "emulated"


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """One way of running the model with fewer bits.

    Attributes:
        precision: ``int8``, ``float16`` or ``bfloat16``.
        how: ``graph``: the file is another one; ``run time``: the backend computes the same file
            otherwise; ``emulated``: the file shows what a run-time precision would cost.
        graph: the ONNX file.
        backend: that runs it.
        run_precision: that the backend is asked for.
    """

    precision: str
    how: str
    graph: bytes
    backend: Backend = "onnxruntime"
    run_precision: Precision = "float32"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What a session gave on the task's data.

    Attributes:
        metrics: figures of the task by name, more is better, from 0 to 1.
        logits: of all samples, in the same order for every session.
    """

    metrics: Mapping[str, float]
    logits: Float32Array


def relation_variants(
    model: onnx.ModelProto, calibration: Iterable[Mapping[str, Array]]
) -> list[Variant]:
    """What there is to measure of a float32 graph on this machine.

    Args:
        model: such as `factor_relations` makes.
        calibration: inputs of pictures that the metric is not measured on.

    Raises:
        InputError: the graph has nothing to quantize, or there is no calibration input.
        MissingDependencyError: onnx is not installed.
    """
    graph = model.SerializeToString()
    int8 = quantize_int8(model, calibration).SerializeToString()
    variants = [
        Variant("int8", GRAPH, int8),
        Variant("float16", GRAPH, store_float16(model).SerializeToString()),
    ]
    if openvino.version() is not None:
        variants.insert(1, Variant("int8", GRAPH, int8, backend="openvino"))
    if openvino.version() is not None and "bfloat16" in openvino.precisions():
        variants.append(Variant("bfloat16", RUN_TIME, graph, "openvino", "bfloat16"))
    else:
        emulated = emulate_bfloat16(model).SerializeToString()
        variants.append(Variant("bfloat16", EMULATED, emulated))
    return variants


def gate(
    graph: bytes,
    variants: Sequence[Variant],
    measure: Callable[[Session], Measurement],
    *,
    sample: Mapping[str, Array],
    max_loss: float = MAX_LOSS,
    threads: int = 0,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Measure every variant against the float32 graph in ONNX Runtime.

    Args:
        graph: the float32 ONNX file.
        variants: see `relation_variants`. One that fails is refused and says so.
        measure: runs a session on the task's data.
        sample: inputs of one run, to take the time of; names that the graph lacks are left out.
        max_loss: of each figure, absolute: 0.01 is one point of mAP.
        threads: of one run; 0 is all cores.
        rounds: of the timing, in which all take turns.

    Returns:
        JSON-ready record, see docs/relations.md: ``max_loss``, ``processor``, ``threads``,
        ``date``, ``float32`` (``metrics``, ``bytes`` and ``ms`` by backend) and ``variants``.

    Raises:
        InputError: max_loss is not from 0 to 1, or a figure of the float32 graph is no number.
        BackendError: the float32 graph can't be run.
    """
    if not 0 <= max_loss <= 1:
        raise InputError(f"max_loss: found {max_loss}, expected 0 to 1")

    def session_of(variant: Variant) -> Session:
        options = SessionOptions(
            provider="cpu",
            backend=variant.backend,
            precision=variant.run_precision,
            threads=threads,
        )
        return load(variant.graph, options)

    sessions: dict[Backend, Session] = {"onnxruntime": session_of(Variant("float32", GRAPH, graph))}
    if openvino.version() is not None:
        # It can't run every graph (docs/backends.md); the variants for it then say why.
        with contextlib.suppress(BackendError):
            sessions["openvino"] = session_of(Variant("float32", GRAPH, graph, "openvino"))
    reference = measure(sessions["onnxruntime"])
    for name, value in reference.metrics.items():
        if not math.isfinite(value):
            raise InputError(f"{name}: found {value} with the float32 graph, expected a number")
    timed: dict[str, Session] = {f"float32 {name}": each for name, each in sessions.items()}
    records = []
    for variant in variants:
        record: dict[str, Any] = {
            "precision": variant.precision,
            "how": variant.how,
            "backend": variant.backend,
            "bytes": len(variant.graph),
        }
        records.append(record)
        try:
            session = session_of(variant)
            found = measure(session)
        except VinferError as exc:
            record |= {"accepted": False, "reason": str(exc)}
            continue
        record |= _judged(reference, found, variant, max_loss)
        if variant.how != EMULATED:
            timed[f"{variant.precision} {variant.backend}"] = session
    times = _milliseconds(timed, sample, rounds)
    of_float32 = {backend: times[f"float32 {backend}"] for backend in sessions}
    for record in records:
        taken = times.get(f"{record['precision']} {record['backend']}")
        if taken is not None and record["how"] != EMULATED:
            record["ms"] = taken
            # Of the fastest float32: a ratio to a slower backend's would promise too much.
            record["time_ratio"] = round(taken / min(of_float32.values()), 3)
    for session in timed.values():
        session.close()
    return {
        "max_loss": max_loss,
        "processor": this_processor().model,
        "threads": threads,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "float32": {
            "metrics": _rounded(reference.metrics),
            "bytes": len(graph),
            "ms": of_float32,
        },
        "variants": records,
    }


def allowed_precisions(report: Mapping[str, Any]) -> tuple[Precision, ...]:
    """What backend ``auto`` may take: float32, and what was accepted as it runs."""
    found = {
        each["precision"]
        for each in report["variants"]
        if each["accepted"] and each["how"] == RUN_TIME
    }
    return ("float32", "bfloat16") if "bfloat16" in found else ("float32",)


def accepted_graph(report: Mapping[str, Any], variants: Sequence[Variant], precision: str) -> bytes:
    """The graph of a precision, to be packed.

    Raises:
        InputError: it was not measured, or refused in a backend; says why.
    """
    verdicts = [
        each
        for each in report["variants"]
        if each["precision"] == precision and each["how"] == GRAPH
    ]
    graphs = [each.graph for each in variants if (each.precision, each.how) == (precision, GRAPH)]
    if not verdicts or not graphs:
        known = sorted({each.precision for each in variants if each.how == GRAPH})
        raise InputError(
            f"precision: found {precision!r}, expected one with a graph of its own: "
            f"{', '.join(known) or 'none was made'}"
        )
    for verdict in verdicts:
        if not verdict["accepted"]:
            raise InputError(
                f"precision: {precision} was refused in {verdict['backend']}: "
                f"{verdict['reason']}; use float32, or allow a larger loss"
            )
    return graphs[0]


def _judged(
    reference: Measurement, found: Measurement, variant: Variant, max_loss: float
) -> dict[str, Any]:
    worst, loss = "", -math.inf
    for name, value in reference.metrics.items():
        lost = value - found.metrics.get(name, math.nan)
        # A figure that is no number is the worst that can be.
        if not lost <= loss:
            worst, loss = name, lost if math.isfinite(lost) else math.inf
    gap = float(np.abs(found.logits - reference.logits).max(initial=0.0))
    finite = math.isfinite(gap)
    told = f"{worst} {0 - loss:+.4f}, at least {-max_loss:g} is allowed"
    record: dict[str, Any] = {
        "metrics": _rounded(found.metrics),
        "loss": round(loss, 6) if math.isfinite(loss) else None,
        "largest_difference": float(f"{gap:.4g}") if finite else None,
        "accepted": finite and loss <= max_loss and variant.how != EMULATED,
        "reason": told if finite else "logits that are no numbers",
    }
    if variant.how == EMULATED and finite:
        record["reason"] = (
            f"not measured as it runs: that needs openvino and a processor with "
            f"{variant.precision}; emulated: {told}"
        )
    return record


def _milliseconds(
    sessions: Mapping[str, Session], sample: Mapping[str, Array], rounds: int
) -> dict[str, float]:
    """The median of each."""

    def run_of(session: Session) -> Callable[[], object]:
        feed = {spec.name: sample[spec.name] for spec in session.inputs}
        return lambda: session.run(feed)

    taken = take_turns([run_of(session) for session in sessions.values()], rounds=rounds)
    return {
        name: round(1e3 * statistics.median(seconds), 3)
        for name, seconds in zip(sessions, zip(*taken, strict=True), strict=True)
    }


def _rounded(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: round(float(value), 6) if math.isfinite(value) else None
        for name, value in metrics.items()
    }
