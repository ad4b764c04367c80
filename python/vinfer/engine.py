"""The engine: a detector and a relation model from bundles, a stream in, events out."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import vinfer
from vinfer.backends import SessionInfo, SessionOptions
from vinfer.bundles import Bundle, find_bundle
from vinfer.closing import Closing
from vinfer.config import Config, config_hash
from vinfer.delivery import Delivery, Progress, Step
from vinfer.errors import BundleIntegrityError
from vinfer.events.segments import Segmenter
from vinfer.scheduler import OrderedMap
from vinfer.sources import Source, open_source
from vinfer.stages.detect import Detector
from vinfer.stages.relate import Relator
from vinfer.stages.shots import ShotDetector
from vinfer.stages.track import Tracker
from vinfer.stores.base import RunInfo, Sink
from vinfer.threads import usable_threads
from vinfer.types import (
    Detections,
    Event,
    Frame,
    FrameResult,
    Relations,
    RunSummary,
    StreamInfo,
    UInt8Array,
)

# Frames in work at once hold memory; more threads than this go into the inferences instead.
MAX_WORKERS = 8

# For streams that state no rate: the motion model's unit only, times are always the stream's own.
USUAL_RATE = Fraction(25)


class Engine(Closing):
    """Finds who does what to what, in pictures and streams.

    One engine can serve many streams, also from several threads: what belongs to a stream (tracks,
    running events) is made anew for each `watch` or `run`.

    Example:
        >>> with vinfer.Engine("relation-prior") as engine:
        ...     for event in engine.watch("clip.mp4"):
        ...         print(event)

    Args:
        bundle: name or path of a relation bundle; None takes the configuration's.
        detector: name or path of a detector bundle; None takes the configuration's or, where that
            is silent too, the one that the relation bundle names.
        config: settings; None takes the defaults.

    Raises:
        BundleError: a bundle is missing, damaged or of another task.
        BackendError: a graph can't be loaded, or the provider can't be had.
        ConfigError: the configuration names a predicate that the bundle does not have.
    """

    def __init__(
        self,
        bundle: str | Path | None = None,
        *,
        detector: str | Path | None = None,
        config: Config | None = None,
    ) -> None:
        self.config = config = config or Config()
        relation_bundle = Bundle.open(find_bundle(bundle or config.bundle))
        self._threads = config.threads or usable_threads()
        # Frames of a stream go side by side, one thread each: on two cores that gave 1.05 to 1.3
        # times the frames of two threads inside one inference, and their number can't change a bit.
        self._workers = min(self._threads, MAX_WORKERS)
        options = SessionOptions(
            provider=config.provider,
            backend=config.backend,
            threads=self._threads // self._workers,
            concurrent_runs=self._workers,
        )
        self._relator = self._make_relator(relation_bundle, options)
        detector_bundle = Bundle.open(
            find_bundle(detector or config.detector or self._relator.manifest.detector)
        )
        self._detector = self._make_detector(detector_bundle, options)
        # Their paths and not themselves: the graphs' bytes are as large as the weights.
        self._sources = [
            (bundle.path.resolve(), bundle.digest) for bundle in (detector_bundle, relation_bundle)
        ]
        self._for_pictures: tuple[Detector, Relator] | None = (
            (self._detector, self._relator) if self._workers == 1 else None
        )
        self._making = threading.Lock()
        self.thresholds = config.events.thresholds(
            self._relator.predicates, self._relator.manifest.events
        )
        self.run_info = RunInfo(
            bundle=relation_bundle.identity,
            detector=detector_bundle.identity,
            config_hash=config_hash(
                config,
                {
                    "bundle": relation_bundle.digest,
                    "detector": detector_bundle.digest,
                    **_what_runs(self._detector.describe(), self._relator.describe()),
                },
            ),
            config=config.model_dump(mode="json"),
            version=vinfer.__version__,
            predicates=tuple(sorted(self.thresholds)),
        )

    def close(self) -> None:
        """Release the sessions; the engine can't be used afterwards."""
        self._detector.close()
        self._relator.close()
        with self._making:
            if self._for_pictures is None:
                # Closed: `infer` says so from now on.
                self._for_pictures = self._detector, self._relator
            for stage in self._for_pictures:
                stage.close()

    @property
    def relator(self) -> Relator:
        """The relation model, as frames of a stream meet it: from up to `workers` threads."""
        return self._relator

    @property
    def workers(self) -> int:
        """How many frames of a stream are in work at once."""
        return self._workers

    def describe(self) -> dict[str, Any]:
        """What really runs: bundles, providers, precision, threads, and the predicates reported.

        ``workers`` frames of a stream are in work at once, each on one thread of the sessions.
        """
        return {
            "bundle": self.run_info.bundle,
            "detector": self.run_info.detector,
            "config_hash": self.run_info.config_hash,
            "workers": self._workers,
            "sessions": {
                "detector": dataclasses.asdict(self._detector.describe()),
                "relations": dataclasses.asdict(self._relator.describe()),
            },
            "predicates": {name: t.model_dump() for name, t in sorted(self.thresholds.items())},
        }

    def infer(self, image: UInt8Array) -> FrameResult:
        """Objects and relations of one picture.

        Args:
            image: uint8 ``[H, W, 3]``, RGB.

        Returns:
            Detections without track ids, and the relations between them.

        Raises:
            InputError: the array is not such a picture.
            ModelOutputError: a model gave non-finite values.
        """
        detector, relator = self._picture_stages()
        detections = detector.detect(image)
        return FrameResult(detections, relator.relate(detections, image))

    def _make_relator(self, bundle: Bundle, options: SessionOptions) -> Relator:
        return Relator(bundle, options, min_score=self.config.relations.min_score)

    def _make_detector(self, bundle: Bundle, options: SessionOptions) -> Detector:
        return Detector(bundle, options, **self.config.detect.model_dump())

    def _picture_stages(self) -> tuple[Detector, Relator]:
        """Stages that put all threads to one picture; made when the first one is asked for."""
        with self._making:
            if self._for_pictures is None:
                options = SessionOptions(
                    provider=self.config.provider,
                    backend=self.config.backend,
                    threads=self._threads,
                )
                detector_source, relation_source = self._sources
                relator = self._relator
                detector = self._make_detector(_reopened(*detector_source), options)
                if relator.needs_image:  # a graph of pairs alone takes no time worth sharing
                    try:
                        relator = self._make_relator(_reopened(*relation_source), options)
                    except BaseException:
                        detector.close()
                        raise
                self._for_pictures = detector, relator
            return self._for_pictures

    def watch(self, source: str | Path | Source) -> Iterator[Event]:
        """Events of a stream, as they become known.

        Args:
            source: file, folder or glob of images, URL, camera, or an open `Source`, which is used
                up and closed.

        Yields:
            ``open`` once an event has lasted long enough, ``update`` while it goes on, ``close``
            when it is final; the same ``event_id`` throughout.

        Raises:
            SourceError: it can't be opened, or broke off; what ended was yielded before.
        """
        with self._opened(source) as stream:
            segmenter = self._segmenter(stream.info)
            failure: Exception | None = None
            try:
                with contextlib.closing(self._steps(stream, segmenter)) as steps:
                    for step in steps:
                        yield from step.ended
                        yield from step.events
            except Exception as exc:  # the events that were announced still get their close
                failure = exc
            yield from segmenter.finish()
            if failure is not None:
                raise failure

    def run(
        self,
        source: str | Path | Source,
        *sinks: Sink,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> RunSummary:
        """Process a stream to its end and write what is found.

        Whatever ends the run — the stream's end, an error, an interrupt — running events are closed
        first and every sink is closed, so that files are valid.

        Args:
            source: as for `watch`.
            sinks: where frames and events go, in this order.
            on_progress: called after each frame.

        Returns:
            What was processed and the final events.

        Raises:
            SourceError: the source can't be opened or broke off.
            OutputError: a sink can't be written; the others were finished.
        """
        with self._opened(source) as stream:
            run = Delivery(stream, self._segmenter(stream.info), sinks, on_progress)
            with run, contextlib.closing(self._steps(stream, run.segmenter)) as steps:
                run.open(self.run_info)
                for step in steps:
                    run.push(step)
                run.complete = stream.ended
            return run.summary

    @contextlib.contextmanager
    def _opened(self, source: str | Path | Source) -> Iterator[Source]:
        if isinstance(source, Source):
            with source:
                yield source
            return
        settings = self.config.source
        with open_source(
            source,
            stride=settings.stride,
            start=settings.start,
            duration=settings.duration,
            rate=settings.rate,
        ) as stream:
            yield stream

    def _segmenter(self, info: StreamInfo) -> Segmenter:
        return Segmenter(
            info.name,
            self.thresholds,
            symmetric=self._relator.manifest.symmetric,
            update_interval=Fraction(self.config.events.update_interval).limit_denominator(1000),
            bundle=self.run_info.bundle,
            config_hash=self.run_info.config_hash,
        )

    def _steps(self, stream: Source, segmenter: Segmenter) -> Generator[Step]:
        """Decode, detect and relate in the workers, everything else here; one order."""
        track, shots = self.config.track, self.config.shots
        tracker = Tracker(
            frame_rate=(stream.info.average_rate or USUAL_RATE) / self.config.source.stride,
            **track.model_dump(),
        )
        cuts = ShotDetector(floor=shots.floor, ratio=shots.ratio) if shots.enabled else None

        def decoded() -> Iterator[tuple[Frame, bool]]:
            for frame in stream:
                yield frame, cuts is not None and cuts.is_cut(frame.image, frame.time)

        def found_on(
            taken: tuple[Frame, bool],
        ) -> tuple[Frame, bool, Detections, Relations]:
            frame, is_cut = taken
            detections = self._detector.detect(frame.image)
            # Which objects are related does not depend on their tracks, and the tracker keeps
            # their order: so a graph that looks at pictures runs for several frames at once, too.
            return frame, is_cut, detections, self._relator.relate(detections, frame.image)

        with (
            OrderedMap(found_on, decoded(), workers=self._workers) as found,
            # Left first, so that a source that waits for its next frame lets the workers end.
            contextlib.closing(stream),
        ):
            for frame, is_cut, detections, relations in found:
                ended: list[Event] = []
                if is_cut:
                    tracker.reset()
                    ended = segmenter.cut()
                tracked = tracker.update(detections, frame.time)
                events = segmenter.push(frame.time, frame.index, tracked, relations)
                yield Step(frame, FrameResult(tracked, relations, is_cut), ended, events)


def _reopened(path: Path, digest: str) -> Bundle:
    bundle = Bundle.open(path)
    if bundle.digest != digest:
        raise BundleIntegrityError(
            f"{path}: found another bundle ({bundle.identity}) than the engine was made with; "
            "make a new Engine"
        )
    return bundle


def _what_runs(detector: SessionInfo, relations: SessionInfo) -> dict[str, str]:
    """What of the sessions can change a result, for the configuration's hash."""
    found = {"providers": ",".join(detector.providers)}
    # Left out for onnxruntime: hashes of runs before there was another backend stay what they are.
    for name, info in (("detector", detector), ("relations", relations)):
        if info.backend != "onnxruntime":
            found[f"{name}_backend"] = f"{info.backend} {info.precision}"
    return found
