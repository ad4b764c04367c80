"""The report as text: what is in it, and that nothing breaks out of it."""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_scenes import PREDICATES, RUN, event, found, frame, play, stream, summary

pytest.importorskip("cv2")

from vinfer.errors import OutputError
from vinfer.report.html import HtmlReport
from vinfer.report.page import Explained, page_data, render_page
from vinfer.types import Participant, RunSummary


class Page(HTMLParser):
    """Elements of a page, and the text of those that hold text only."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        name = dict(attrs).get("type") or tag
        self._open = name if tag in ("script", "style", "title") else ""

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + data

    @property
    def data(self) -> Any:
        return json.loads(self.texts["application/json"])

    @property
    def policy(self) -> str:
        [policy] = [
            attributes["content"]
            for tag, attributes in self.tags
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy is not None
        return policy


def render(run_summary: RunSummary, *, video: str | None = None) -> str:
    return render_page(
        page_data(
            run_summary,
            RUN,
            video=video,
            cuts=[],
            seen={},
            thumbnail=lambda _: None,
        )
    )


def test_a_run_is_told_in_full(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    events = [event(1, "on", 1, 2, score=0.75), event(2, "next to", 1.5, 2.5)]
    play([HtmlReport(path)], events, num_frames=40, cuts=[0, 20])
    data = Page(path.read_text("utf-8")).data
    assert data["name"] == "clip.mp4"
    assert data["duration"] == 4.0
    assert data["frames"] == 40
    assert data["size"] == [320, 180]
    assert data["cuts"] == [0.0, 2.0]
    assert data["video"] == "annotated.mp4"
    assert data["run"] == {
        "bundle": "relations@1.2.0",
        "detector": "detector@3.0.0",
        "config_hash": "0123456789abcdef",
        "version": "0.1.0",
    }
    assert data["predicates"] == list(PREDICATES)
    assert data["seen"] == {"bicycle": 1, "person": 1}
    [pair] = data["pairs"]
    assert (pair["subject"]["label"], pair["subject"]["track"]) == ("person", 3)
    assert (pair["object"]["label"], pair["object"]["track"]) == ("bicycle", 4)
    first = data["events"][0]
    assert (first["predicate"], first["start"], first["end"]) == ("on", 1.0, 2.0)
    assert first["score"] == 0.75
    jpeg = base64.b64decode(first["thumbnail"].removeprefix("data:image/jpeg;base64,"))
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert list(path.parent.iterdir()) == [path]


HOSTILE = (
    "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028&amp;{{script}}'\""
)


def test_names_and_labels_can_not_break_out() -> None:
    hostile_event = event(
        predicate=HOSTILE,
        subject=Participant(HOSTILE, 3, (0.0, 0.0, 1.0, 1.0)),
        object_=Participant(HOSTILE, 4, (0.0, 0.0, 1.0, 1.0)),
    )
    harmless = Page(render(summary([event()])))
    page = Page(render(summary([hostile_event], info=stream(HOSTILE))))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    assert page.texts["title"] == f"{HOSTILE} - vinfer report"
    assert page.data["name"] == HOSTILE
    assert page.data["events"][0]["predicate"] == HOSTILE
    assert page.texts["script"] == harmless.texts["script"]


def test_a_name_that_is_no_text_is_written(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    sink = HtmlReport(path)
    info = stream("caf\udce9.mp4")  # how Python names a file whose name is not UTF-8
    sink.open(info, RUN)
    sink.frame(frame(0), found())
    sink.close(summary(info=info, num_frames=1))
    assert Page(path.read_text("utf-8")).data["name"] == "caf\udce9.mp4"


def test_the_policy_allows_these_two_texts_and_no_network() -> None:
    page = Page(render(summary([event()]), video="annotated.mp4"))
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'"
    for rule, text in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(page.texts[text].encode()).digest()
        assert rules[rule] == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules["img-src"] == "data:"
    assert "http" not in page.policy


def test_the_page_names_no_address() -> None:
    text = render(summary([event()]), video="annotated.mp4")
    assert not re.search(r"https?:|url\(|@import|//[a-z]+\.", text)
    page = Page(text)
    loading = [a for _, attributes in page.tags for a in ("src", "href") if attributes.get(a)]
    assert loading == ["href"]  # the empty icon, so that no browser asks for one
    assert ("link", {"rel": "icon", "href": "data:,"}) in page.tags


def test_the_video_path_is_quoted() -> None:
    page = Page(render(summary([event()]), video="a clip #1?.mp4"))
    assert page.data["video"] == "a%20clip%20%231%3F.mp4"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        play([HtmlReport(tmp_path / name)], [event()], num_frames=30)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_without_frames_there_is_a_page_and_no_video(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    sink = HtmlReport(path)
    sink.open(stream(), RUN)
    sink.close(summary(num_frames=0, complete=False, dropped={"undecodable": 2}))
    data = Page(path.read_text("utf-8")).data
    assert (data["video"], data["frames"], data["duration"]) == (None, 0, 0.0)
    assert (data["complete"], data["dropped"]) == (False, {"undecodable": 2})


def test_a_folder_that_can_not_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"can't write .*report\.html"):
        HtmlReport(tmp_path / "file" / "report.html").open(stream(), RUN)


def test_a_full_disk_keeps_the_page_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    sink = HtmlReport(path)
    sink.open(stream(), RUN)
    sink.frame(frame(0), found())

    def fail(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match=r"No space left on device \(.* MB free\)"):
        sink.close(summary(num_frames=1))
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_explanations_are_asked_for_when_the_run_has_ended(tmp_path: Path) -> None:
    first, second = event(1), event(2, "hold")
    asked: list[RunSummary] = []

    def explain(run: RunSummary) -> dict[str, Explained]:
        asked.append(run)
        return {second.event_id: Explained(b"a picture", "because")}

    play([HtmlReport(tmp_path / "report.html", explain=explain)], [first, second], num_frames=25)
    assert [run.events for run in asked] == [(first, second)]
    records = Page((tmp_path / "report.html").read_text()).data["events"]
    assert "explanation" not in records[0]
    picture = "data:image/jpeg;base64," + base64.b64encode(b"a picture").decode()
    assert records[1]["explanation"] == {"picture": picture, "text": "because"}
