"""Video files, network streams and cameras through PyAV."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.stream import Disposition

from vinfer.errors import (
    SourceError,
    SourceNotFoundError,
    TruncatedSourceError,
    UnsupportedSourceError,
)
from vinfer.sources import address
from vinfer.sources.base import MAX_SIDE, Picture, Selection, Source
from vinfer.sources.clock import StreamClock
from vinfer.sources.completeness import StatedEnd, index_is_cut
from vinfer.sources.upright import RgbConverter, frame_orientation, upright
from vinfer.types import StreamInfo, UInt8Array

DEFAULT_RATE = Fraction(25)
# Up to this many pixels one thread decodes faster than a detector runs, spends less CPU time in all
# than several would, and hands out each frame at once.
_ONE_THREAD_PIXELS = 1280 * 720
_MAX_THREADS = 4


def open_file(path: Path, name: str, selection: Selection) -> VideoSource:
    """Open a video file.

    Raises:
        UnsupportedSourceError: it is no video, or holds no picture that can be decoded.
    """
    if path.stat().st_size == 0:
        raise UnsupportedSourceError(f"{path}: the file is empty, expected a video or image")
    try:
        # "file:" as FFmpeg would read a colon in a file name as a protocol.
        container = av.open(f"file:{path}", options=_limits())
    except av.FFmpegError as exc:
        raise UnsupportedSourceError(_not_a_video(path, exc)) from exc
    try:
        return VideoSource(container, str(path), name, selection)
    except UnsupportedSourceError as exc:
        if index_is_cut(path):
            raise UnsupportedSourceError(_without_index(path)) from exc
        raise


def open_url(url: str, name: str | None, selection: Selection, *, timeout: float) -> VideoSource:
    """Open an ``http(s)://`` or ``rtsp(s)://`` stream; messages never show its credentials.

    Raises:
        SourceNotFoundError: nothing answers there within ``timeout`` seconds.
        UnsupportedSourceError: what comes from there is no video.
        SourceError: access is refused.
    """
    shown = address.shown_url(url)
    # TCP first: over UDP a busy network loses packets, and with them pictures.
    # Only video: a sound track that goes on would hide that the pictures stall.
    rtsp = {"rtsp_flags": "prefer_tcp", "allowed_media_types": "video"}
    options = _limits() | (rtsp if url.lower().startswith("rtsp") else {})
    try:
        container = av.open(url, options=options, timeout=(timeout, timeout))
    except av.FFmpegError as exc:
        error = _url_error(shown, exc, timeout)
    else:
        return VideoSource(container, shown, name or shown, selection, timeout)
    # Not chained: the cause's own message holds the whole URL.
    raise error


def open_camera(device: str, name: str, selection: Selection, *, timeout: float) -> VideoSource:
    """Open a Video4Linux camera.

    Args:
        device: for example ``/dev/video0``.
        name: name of the stream.
        selection: which frames to deliver.
        timeout: seconds to wait for each frame.

    Raises:
        SourceNotFoundError: there is no such camera.
        SourceError: it is in use or not permitted.
        UnsupportedSourceError: it gives no video.
    """
    if not Path(device).exists():
        cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
        there = f"found {', '.join(cameras)}" if cameras else "this machine has no /dev/video*"
        raise SourceNotFoundError(f"{device}: there is no such camera; {there}")
    try:
        container = av.open(device, format="v4l2", timeout=(timeout, timeout))
    except av.error.InvalidDataError as exc:
        raise UnsupportedSourceError(f"{device}: the camera gives no video") from exc
    except av.FFmpegError as exc:
        raise SourceError(
            f"{device}: the camera can't be opened ({exc.strerror}); is it in use, and is this "
            "user in the group video?"
        ) from exc
    return VideoSource(container, device, name, selection, timeout)


class VideoSource(Source):
    """The first video stream of a container; cover pictures of audio files do not count.

    Args:
        container: the open container; it is closed with the source.
        shown: what was opened, free of credentials.
        name: name of the stream.
        selection: which frames to deliver.
        timeout: seconds that the container waits for a packet; None where none has to come.

    Raises:
        UnsupportedSourceError: no video stream, no frame, a picture too large, an unknown codec.
        SourceError: a live stream gives no picture.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        shown: str,
        name: str,
        selection: Selection,
        timeout: float | None = None,
    ) -> None:
        super().__init__(selection)
        self._container = container
        self._timeout = math.inf if timeout is None else timeout
        try:
            self._open(shown, name)
        except BaseException:
            container.close()
            raise

    def _open(self, shown: str, name: str) -> None:
        stream = _video_stream(self._container, shown)
        decoder = stream.codec_context
        _check_size(shown, decoder.width, decoder.height)
        if decoder.width * decoder.height > _ONE_THREAD_PIXELS:
            stream.thread_type = "AUTO"
            decoder.thread_count = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        else:
            stream.thread_type = "NONE"
            decoder.thread_count = 1
        self._stream = stream
        self._shown = shown
        self._time_base = stream.time_base or Fraction(1, av.time_base)
        rate = stream.average_rate or stream.guessed_rate
        self._end = StatedEnd.of(self._container, stream)
        self._clock = StreamClock(1 / (rate or DEFAULT_RATE))
        self._converter = RgbConverter()
        self._decoder = self._decode()
        try:
            first = next(self._decoder, None)
        except TruncatedSourceError:
            first = None
        if first is None and self._end.live:
            raise SourceError(
                f"{shown}: there is an answer but no picture comes; check the camera and, for a "
                "network camera, that no firewall holds its packets back"
            )
        if first is None:
            states = f" (it states {stream.frames})" if stream.frames else ""
            raise UnsupportedSourceError(
                f"{shown}: no frames can be decoded{states}; expected a video with at least one"
            )
        self._decoded = itertools.chain([first], self._decoder)
        turned = frame_orientation(first) >= 5
        width, height = (first.height, first.width) if turned else (first.width, first.height)
        self.info = StreamInfo(
            name=name,
            uri=shown,
            width=width,
            height=height,
            average_rate=rate,
            duration=self._end.duration,
            num_frames=stream.frames or None,
        )

    def _decode(self) -> Generator[av.VideoFrame]:
        """Frames in presentation order; raises TruncatedSourceError after the last good one."""
        broken: str | None = None
        silence = f"nothing came for {self._timeout:g} s"
        demuxed = cast("Generator[av.Packet[Any]]", self._container.demux(self._end.streams))
        with contextlib.closing(demuxed) as packets:
            while True:
                asked = time.monotonic()
                try:
                    packet = next(packets, None)
                except av.error.ExitError:
                    broken = silence
                    break
                except av.FFmpegError as exc:
                    broken = exc.strerror or type(exc).__name__
                    break
                if packet is None:
                    break
                waited = time.monotonic() - asked
                self._end.see(packet)
                if packet.stream_index != self._stream.index:
                    continue
                if packet.is_corrupt:
                    # Cut short: decoders fill what is missing with grey or an old picture.
                    self.dropped["corrupt_packet"] += 1
                    continue
                yield from self._decode_packet(packet)
                if waited >= self._timeout:
                    # What FFmpeg still held when the time was up; it would wait as long again.
                    broken = silence
                    break
        if broken is not None:
            # The packets that end a stream never came, so what the decoder holds is still inside.
            yield from self._decode_packet(None)
        problem = broken or self._end.missing()
        if problem is not None:
            advice = (
                "Check the camera and the network, then start again"
                if self._end.live
                else "Get the whole file, or take the result as that of its first part"
            )
            raise TruncatedSourceError(
                f"{self._shown}: the video breaks off ({problem}); all frames before that were "
                f"delivered. {advice}"
            )

    def _decode_packet(self, packet: av.Packet[av.VideoStream] | None) -> list[av.VideoFrame]:
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            self.dropped["corrupt_packet"] += 1
            return []

    def _pictures(self) -> Iterator[Picture]:
        index = 0
        for frame in self._decoded:
            # The stream's unit: frames that the decoder gives up at the end carry none.
            stated = None if frame.pts is None else frame.pts * self._time_base
            stream_time = self._clock.time(stated)
            if stream_time is None:
                self.dropped["non_monotonic_time"] += 1
                continue
            yield Picture(index, stream_time, functools.partial(self._upright, frame))
            index += 1

    def _upright(self, frame: av.VideoFrame) -> UInt8Array:
        _check_size(self._shown, frame.width, frame.height)
        return upright(self._converter.convert(frame), frame_orientation(frame))

    def _release(self) -> None:
        # First, as it ends the timeout, which would keep FFmpeg from telling a camera to stop.
        self._decoder.close()
        self._container.close()


def _limits() -> dict[str, str]:
    return {"max_pixels": str(MAX_SIDE**2)}


def _video_stream(container: av.container.InputContainer, shown: str) -> av.VideoStream:
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos:
        kinds = sorted({s.type for s in container.streams})
        raise UnsupportedSourceError(
            f"{shown}: found {' and '.join(kinds) or 'no streams'}, expected a video stream"
        )
    stream = videos[0]
    if stream.codec_context is None:
        raise UnsupportedSourceError(
            f"{shown}: no decoder for this kind of video; convert it to H.264 first"
        )
    return stream


def _check_size(shown: str, width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise UnsupportedSourceError(
            f"{shown}: the picture is {width}x{height} px, expected at most {MAX_SIDE} px on a "
            "side; make it smaller first"
        )


def _not_a_video(path: Path, exc: av.FFmpegError) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp":
        return _without_index(path)
    return (
        f"{path}: this is not a video or image that can be read ({exc.strerror}); expected a file "
        "that FFmpeg decodes, such as MP4, MKV, AVI, WebM, JPEG or PNG"
    )


def _without_index(path: Path) -> str:
    return (
        f"{path}: an MP4 without a usable index (moov), so no frame can be found; the "
        "recording or download broke off, get the whole file"
    )


def _url_error(shown: str, exc: av.FFmpegError, timeout: float) -> SourceError:
    if isinstance(exc, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return SourceError(f"{shown}: access is refused ({exc.strerror}); check user and password")
    if isinstance(exc, av.error.InvalidDataError):
        return UnsupportedSourceError(f"{shown}: what comes from there is not a video")
    if isinstance(exc, av.error.ProtocolNotFoundError):
        return UnsupportedSourceError(f"{shown}: this build of FFmpeg can't read such URLs")
    reason = f"no answer within {timeout:g} s" if isinstance(exc, av.error.ExitError) else None
    return SourceNotFoundError(
        f"{shown}: can't be reached ({reason or exc.strerror}); check the address and that the "
        "camera or server is on"
    )
