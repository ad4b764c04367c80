"""A camera for tests: RTSP 1.0 on loopback, H.264 over TCP or UDP, its faults on cue."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast

import av
from videos import write_video

from vinfer.types import UInt8Array

CLOCK = 90_000  # of RTP timestamps of video, Hz
USER, PASSWORD = "guard", "tops3cret"
PATIENCE = 10  # seconds after which the camera gives up on a test that forgot it
AUDIO_PERIOD = 0.05

Fault = Literal["close", "reset", "bye", "stall"]

_SPS, _PPS = 7, 8
_START_CODE = re.compile(rb"\x00{2,}\x01")
_VIDEO, _AUDIO = 0, 1


@dataclasses.dataclass(frozen=True)
class Clip:
    """An encoded clip.

    Attributes:
        pictures: NAL units of each picture.
        times: when each was taken, seconds, from 0 on.
        parameter_sets: NAL units that a decoder must know before the first picture.
    """

    pictures: list[list[bytes]]
    times: list[Fraction]
    parameter_sets: list[bytes]


def encode(
    folder: Path,
    pictures: Iterable[UInt8Array],
    *,
    rate: int = 25,
    times: list[Fraction] | None = None,
    pix_fmt: str = "yuv420p",
) -> Clip:
    """Encode pictures as cameras do: without B-frames, every NAL unit fits into a packet.

    Args:
        folder: where to put a file.
        pictures: uint8 ``[H, W, 3]``, all of one size.
        rate: nominal pictures a second.
        times: when each was taken, seconds, from 0 on; ``i / rate`` where left out.
        pix_fmt: as FFmpeg names it.
    """
    options = {"tune": "zerolatency", "crf": "10", "x264-params": "slice-max-size=1200"}
    path = write_video(
        folder / "camera.h264", pictures, rate=rate, pix_fmt=pix_fmt, options=options
    )
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    units = [_START_CODE.split(packet)[1:] for packet in packets if packet]
    parameter_sets = [unit for unit in units[0] if unit[0] & 31 in (_SPS, _PPS)]
    return Clip(units, times or [Fraction(i, rate) for i in range(len(units))], parameter_sets)


class Camera:
    """Sends its clip to each client, as fast as it goes; its fault then waits for `fail`.

    Args:
        clip: what it films.
        fault: what it does after the clip: send nothing any more ("stall") or, once `fail` was
            called, close the connection in good order, reset it, or say good-bye (RTCP BYE).
        stated_seconds: the length that it states, as for a recording; None for a live stream.
        begins_at: time of the first picture on the clock that it states, seconds.
        password_needed: whether it wants `USER` and `PASSWORD`.
        audio: whether there is a sound track too, which goes on when the pictures stall.
        transports: what it can do.

    Attributes:
        requests: methods that the clients asked for, in order.
        agreed: transports that were agreed on, one for each track.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        fault: Fault = "close",
        stated_seconds: float | None = None,
        begins_at: float = 0,
        password_needed: bool = False,
        audio: bool = False,
        transports: tuple[str, ...] = ("tcp", "udp"),
    ) -> None:
        self.clip = clip
        self.fault = fault
        self.stated_seconds = stated_seconds
        self.begins_at = begins_at
        self.password_needed = password_needed
        self.audio = audio
        self.transports = transports
        self.requests: list[str] = []
        self.agreed: list[str] = []
        self.failing = threading.Event()
        self.leaving = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.camera = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        return f"rtsp://127.0.0.1:{self._server.server_address[1]}/live"

    @property
    def url_with_password(self) -> str:
        """The same with credentials."""
        return self.url.replace("//", f"//{USER}:{PASSWORD}@")

    def fail(self) -> None:
        """Let the fault happen."""
        self.failing.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.failing.set()
        self.leaving.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()  # joins the threads of all connections


class _Server(socketserver.ThreadingTCPServer):
    camera: Camera
    allow_reuse_address = True


class _Connection(socketserver.StreamRequestHandler):
    """One client, from its first request until one side leaves."""

    timeout = PATIENCE

    def handle(self) -> None:
        self.camera = cast(_Server, self.server).camera
        self.tracks: set[int] = set()
        self.udp: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        with contextlib.ExitStack() as self.sockets, contextlib.suppress(OSError):
            while (request := self._next_request()) is not None:
                method, target, headers = request
                self.camera.requests.append(method)
                self._answer(method, target, headers)
                if method == "TEARDOWN":
                    return
                if method == "PLAY" and not self._play():
                    return

    def _next_request(self) -> tuple[str, str, dict[str, str]] | None:
        """Method, target and headers in lower case; reports on reception are passed over."""
        while (first := self.rfile.read(1)) == b"$":
            _, length = struct.unpack(">BH", self.rfile.read(3))
            self.rfile.read(length)
        if not first:
            return None
        method, target, _ = (first + self.rfile.readline()).decode().split()
        headers = {}
        while (line := self.rfile.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return method, target, headers

    def _answer(self, method: str, target: str, headers: dict[str, str]) -> None:
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        refused = self.camera.password_needed and headers.get("authorization") != f"Basic {wanted}"
        status, fields, body = "200 OK", {"Session": "1"}, ""
        if method == "OPTIONS":
            fields = {"Public": "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"}
        elif refused:
            status = "401 Unauthorized"
            fields = {"WWW-Authenticate": 'Basic realm="camera"'}
        elif method == "DESCRIBE":
            body = self._description()
            fields = {"Content-Type": "application/sdp", "Content-Base": f"{target}/"}
        elif method == "SETUP":
            transport = self._set_up(int(target[-1]), headers["transport"])
            if transport is None:
                status, fields = "461 Unsupported Transport", {}
            else:
                fields["Transport"] = transport
        elif method == "PLAY":
            fields["Range"] = f"npt={self.camera.begins_at:.3f}-"
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        lines += [f"Content-Length: {len(body)}", "", body]
        self.wfile.write("\r\n".join(lines).encode())

    def _description(self) -> str:
        sets = ",".join(base64.b64encode(s).decode() for s in self.camera.clip.parameter_sets)
        stated = self.camera.stated_seconds
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=camera",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            f"a=range:npt=0-{'' if stated is None else stated}",
            "m=video 0 RTP/AVP 96",
            f"a=rtpmap:96 H264/{CLOCK}",
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}",
            f"a=control:track{_VIDEO}",
        ]
        if self.camera.audio:
            lines += ["m=audio 0 RTP/AVP 0", f"a=control:track{_AUDIO}"]
        return "\r\n".join([*lines, ""])

    def _set_up(self, track: int, wanted: str) -> str | None:
        kind = "tcp" if "TCP" in wanted else "udp"
        if kind not in self.camera.transports:
            return None
        self.camera.agreed.append(kind)
        self.tracks.add(track)
        if kind == "tcp":
            return f"RTP/AVP/TCP;unicast;interleaved={2 * track}-{2 * track + 1}"
        ports = [int(port) for port in wanted.partition("client_port=")[2].split("-")]
        for i, port in enumerate(ports):
            own = self.sockets.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            own.bind(("127.0.0.1", 0))
            self.udp[2 * track + i] = own, ("127.0.0.1", port)
        own_ports = "-".join(
            str(self.udp[2 * track + i][0].getsockname()[1]) for i in range(len(ports))
        )
        return f"RTP/AVP;unicast;client_port={ports[0]}-{ports[-1]};server_port={own_ports}"

    def _send(self, channel: int, packet: bytes) -> None:
        if channel in self.udp:
            own, there = self.udp[channel]
            own.sendto(packet, there)
        else:
            self.wfile.write(struct.pack(">cBH", b"$", channel, len(packet)) + packet)

    def _play(self) -> bool:
        """Send the clip and fail; returns whether the client is listened to from then on."""
        clip = self.camera.clip
        # Sequence numbers and timestamps both overflow within the clip.
        sequence, start = 0xFFF0, 2**32 - CLOCK // 2
        for units, time in zip(clip.pictures, clip.times, strict=True):
            stamp = (start + int(time * CLOCK)) % 2**32
            for unit in units:
                kind = 96 | 128 * (unit is units[-1])
                header = struct.pack(">BBHII", 0x80, kind, sequence % 2**16, stamp, 1)
                self._send(2 * _VIDEO, header + unit)
                sequence += 1
        if _AUDIO in self.tracks:
            self._send_silence()
        if self.camera.fault == "stall":
            return True
        if not self.camera.failing.wait(PATIENCE):
            return False
        if self.camera.fault == "bye":
            # After a report without content: RTCP packets never come alone.
            report = struct.pack(">BBHI", 0x80, 201, 1, 1)
            self._send(2 * _VIDEO + 1, report + struct.pack(">BBHI", 0x81, 203, 1, 1))
        elif self.camera.fault == "close":
            self.connection.shutdown(socket.SHUT_WR)
        elif self.camera.fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()  # or it would keep the connection open
            self.connection.close()
            return False
        return True

    def _send_silence(self) -> None:
        """A sound track that goes on, whatever the pictures do."""
        samples = 400
        for i in range(int(PATIENCE / AUDIO_PERIOD)):
            header = struct.pack(">BBHII", 0x80, 0, i % 2**16, i * samples, 2)
            self._send(2 * _AUDIO, header + b"\xff" * samples)
            if self.camera.leaving.wait(AUDIO_PERIOD):
                return
