"""The report page of a run: timeline, thumbnails, video."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vinfer.report.page import Explained, page_data, render_page
from vinfer.report.thumbnails import Thumbnails
from vinfer.stores.base import RunInfo
from vinfer.stores.files import output_error
from vinfer.types import UNTRACKED, Event, Frame, FrameResult, RunSummary, StreamInfo


class HtmlReport:
    """Sink that writes one HTML page with the run's events.

    The page needs no network and no other file than the video. Memory is bounded for any length
    of stream, but for the list of events.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        video: str | None = "annotated.mp4",
        explain: Callable[[RunSummary], Mapping[str, Explained]] | None = None,
    ) -> None:
        """Name what to write.

        Args:
            path: the page; it is replaced as a whole when the run ends.
            video: path of the video relative to the page, with ``/``; None for a page without.
            explain: called when the run has ended; gives explanations by event id.
        """
        self._path = Path(path)
        self._video = video
        self._explain = explain
        self._run: RunInfo | None = None
        self._cuts: list[float] = []
        # Ids grow and are not used again, so the largest tells new tracks from known ones; a set of
        # all would grow with the stream.
        self._newest: dict[str, int] = {}
        self._seen: Counter[str] = Counter()

    @property
    def _partial(self) -> Path:
        return self._path.with_name(f".{self._path.name}.partial")

    def open(self, info: StreamInfo, run: RunInfo) -> None:
        """Check that the page can be written, before hours of work.

        Raises:
            OutputError: it can't.
            MissingDependencyError: OpenCV is not installed.
        """
        self._thumbnails = Thumbnails()
        self._run = run
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial.touch()
            self._partial.unlink()
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def frame(self, frame: Frame, result: FrameResult) -> None:
        """Remember the frame for some seconds, in small."""
        self._thumbnails.add(frame)
        if result.is_cut:
            self._cuts.append(float(frame.time))
        detections = result.detections
        for i in np.argsort(detections.track_ids).tolist():
            label, track_id = detections.name(i), int(detections.track_ids[i])
            if track_id > self._newest.get(label, UNTRACKED):
                self._newest[label] = track_id
                self._seen[label] += 1

    def event(self, event: Event) -> None:
        """Take the picture of the event's best frame so far."""
        self._thumbnails.update(event)

    def close(self, summary: RunSummary) -> None:
        """Write the page.

        Raises:
            OutputError: it can't be written; a page that was there before is kept.
        """
        if self._run is None:
            return
        data = page_data(
            summary,
            self._run,
            video=self._video if summary.num_frames else None,
            cuts=self._cuts,
            seen=self._seen,
            thumbnail=self._thumbnails.jpeg,
            explained=None if self._explain is None else self._explain(summary),
        )
        try:
            page = render_page(data).encode("utf-8", "replace")  # a file name may be no text
            self._partial.write_bytes(page)
            self._partial.replace(self._path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                self._partial.unlink()
            raise output_error(self._path, exc) from exc
