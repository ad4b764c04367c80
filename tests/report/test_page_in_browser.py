"""The report in a real Chromium: desktop and phone, light and dark."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from real_parts import missing
from report_scenes import PREDICATES, RUN, event, play, stream, summary

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("av")
pytest.importorskip("cv2")

from vinfer.report.annotate import AnnotatedVideo  # noqa: E402
from vinfer.report.html import HtmlReport  # noqa: E402
from vinfer.report.page import Explained, page_data, render_page  # noqa: E402
from vinfer.stores.base import Sink  # noqa: E402
from vinfer.types import Event, Participant, RunSummary  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--autoplay-policy=no-user-gesture-required",
]
Scheme = Literal["light", "dark"]
DESKTOP, PHONE = (1280, 800), (390, 844)
SCHEMES: tuple[Scheme, Scheme] = ("light", "dark")
SCREENS = [(size, scheme) for size in (DESKTOP, PHONE) for scheme in SCHEMES]
CAR = Participant("car", 7, (10.0, 10.0, 90.0, 60.0))
EVENTS = [
    event(1, "on", 1, 2, score=0.9),
    event(2, "next to", 1.5, 3, score=0.6),
    event(3, "on", 3, 3.1, score=0.75),
    event(4, "in front of", 3.2, 3.8, score=0.4, object_=CAR),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        missing("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    sinks: list[Sink] = [
        AnnotatedVideo(folder / "annotated.mp4"),
        HtmlReport(folder / "report.html"),
    ]
    play(sinks, EVENTS, num_frames=40, cuts=[0, 25])
    return folder


def write_page(folder: Path, name: str, run: RunSummary, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "video": None,
        "cuts": [],
        "seen": {"person": 2},
        "thumbnail": lambda _: None,
    }
    path = folder / name
    path.write_text(render_page(page_data(run, RUN, **settings | changes)), "utf-8")
    return path


class Opened:
    """A page with what must not happen on it: errors, dialogs, requests to a network."""

    def __init__(self, browser: Browser, path: Path, size: tuple[int, int], scheme: Scheme) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page: Page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
        )
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda line: (
                self.errors.append(line.text) if line.type in ("error", "warning") else None
            ),
        )
        self.page.goto(path.as_uri())

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, kind: object, *_: object) -> None:
        self.page.close()
        if kind is None:
            assert self.errors == []
            assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []


def wait_until(page: Page, condition: str) -> None:
    """Wait for a JavaScript condition (the page's policy forbids playwright's own way, eval)."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never became true: {condition}"
        time.sleep(0.02)


def wait_for_video(page: Page) -> None:
    wait_until(page, "document.querySelector('video').readyState >= 2")


def current_time(page: Page) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def is_paused(page: Page) -> bool:
    return bool(page.evaluate("document.querySelector('video').paused"))


# Every visible text against what is painted behind it; WCAG 2 relative luminance.
LOWEST_CONTRASTS = """() => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const luminance = (color) => {
    const [r, g, b] = color.map((v) => {
      const part = v / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || element.closest("script, noscript, :disabled")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.push(e);
    // A word beside its bar lies outside the bar's own colour.
    const bar = element.closest('.bar[data-word="after"], .bar[data-word="before"]');
    let below = [255, 255, 255];
    let opacity = 1;
    for (const e of chain.reverse()) {
      const style = getComputedStyle(e);
      if (e !== bar) below = over(parse(style.backgroundColor), below);
      opacity *= Number(style.opacity);
    }
    const ink = parse(getComputedStyle(element).color);
    const shown = over([...ink.slice(0, 3), ink[3] * opacity], below);
    const [low, high] = [luminance(shown), luminance(below)].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), text, element.className]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize(("size", "scheme"), SCREENS)
def test_everything_is_there_and_fits(
    browser: Browser, folder: Path, size: tuple[int, int], scheme: Scheme
) -> None:
    with Opened(browser, folder / "report.html", size, scheme) as page:
        wait_for_video(page)
        assert page.locator("h1").inner_text() == "clip.mp4"
        assert "4 events" in page.locator(".facts").inner_text().replace("\n", " ")
        assert "relations@1.2.0" in page.locator(".made").inner_text()
        assert page.locator(".rows > li").count() == 2
        assert page.locator(".bar").count() == 4
        assert page.locator(".card").count() == 4
        assert page.locator(".cut").count() == 2
        pictures = "images => images.map(image => image.decode().then(() => image.naturalWidth))"
        widths = page.locator(".card img").evaluate_all(f"i => Promise.all(({pictures})(i))")
        assert widths == [320] * 4
        # Bars lie where the times say.
        axis = page.locator("#axis").bounding_box()
        bar = page.locator(".bar").first.bounding_box()
        assert axis is not None
        assert bar is not None
        assert (bar["x"] - axis["x"]) / axis["width"] == pytest.approx(1 / 4, abs=0.01)
        assert bar["width"] / axis["width"] == pytest.approx(1 / 4, abs=0.01)
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        contrasts = page.evaluate(LOWEST_CONTRASTS)
        assert len(contrasts) > 40
        assert contrasts[0][0] >= 4.5, contrasts[:3]


def test_light_and_dark_differ(browser: Browser, folder: Path) -> None:
    backgrounds = []
    for scheme in SCHEMES:
        with Opened(browser, folder / "report.html", DESKTOP, scheme) as page:
            backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_predicate_colour_is_readable(
    browser: Browser, tmp_path: Path, scheme: Scheme
) -> None:
    events = [event(n, f"predicate {n}", n * 2, n * 2 + 2) for n in range(10)]
    run = summary(events, complete=False, dropped={"late": 3}, num_frames=200)
    path = write_page(tmp_path, "colours.html", run)
    with Opened(browser, path, DESKTOP, scheme) as page:
        places = page.locator(".bar").evaluate_all("bars => bars.map(bar => bar.dataset.word)")
        assert "inside" in places
        contrasts = page.evaluate(LOWEST_CONTRASTS)
        assert contrasts[0][0] >= 4.5, contrasts[:3]
        assert "ended early" in page.locator("#notice").inner_text()
        assert "3 \u00d7 late" in page.locator("#notice").inner_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_filters_hide_bars_and_cards(browser: Browser, folder: Path, size: tuple[int, int]) -> None:
    def counts(page: Page) -> tuple[int, ...]:
        return tuple(page.locator(which).count() for which in (".rows > li", ".bar", ".card"))

    with Opened(browser, folder / "report.html", size, "light") as page:
        chips = page.locator(".chips button")
        assert chips.count() == 4
        on = page.locator('.chips button[data-predicate="on"]')
        on.click()
        assert on.get_attribute("aria-pressed") == "true"
        assert chips.first.get_attribute("aria-pressed") == "false"
        assert counts(page) == (1, 2, 2)
        assert page.locator("#count").inner_text() == "2 of 4 events shown"
        page.locator('.chips button[data-predicate="in front of"]').click()
        assert counts(page) == (2, 3, 3)
        page.locator("#score").fill("0.8")
        wait_until(page, "document.querySelectorAll('.card').length === 1")
        assert counts(page) == (1, 1, 1)
        assert page.locator("#score-value").inner_text() == "0.80"
        page.locator("#score").fill("0.95")
        page.locator("#nothing").wait_for(state="visible")
        page.locator("#reset").click()
        assert counts(page) == (2, 4, 4)
        assert chips.first.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("which", [".bar", ".card"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_a_click_seeks_and_plays_and_a_second_one_pauses(
    browser: Browser, folder: Path, size: tuple[int, int], which: str
) -> None:
    with Opened(browser, folder / "report.html", size, "light") as page:
        wait_for_video(page)
        page.evaluate("document.querySelector('video').playbackRate = 0.1")
        target = page.locator(which).nth(1)  # from 1.5 s
        target.click()
        wait_until(page, "document.querySelector('video').currentTime >= 1.5")
        assert current_time(page) < 2.0
        wait_until(page, "!document.querySelector('video').paused")
        wait_until(page, "document.querySelectorAll('.bar.active').length === 2")
        now = page.locator("#now-list").inner_text()
        assert "next to" in now
        assert "on" in now
        target.click()
        assert is_paused(page)
        page.locator(which).nth(0).click()
        wait_until(page, "document.querySelector('video').currentTime < 1.4")
        assert current_time(page) >= 1.0


def test_it_works_by_keyboard_alone(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "report.html", DESKTOP, "light") as page:
        wait_for_video(page)
        page.evaluate("document.querySelector('video').playbackRate = 0.1")
        page.locator("#zoom-in").focus()
        page.keyboard.press("Tab")
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused) == "person #3 on bicycle #4, 1.00 to 2.00 s, score 0.90"
        assert page.locator("#tip").is_visible()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert page.evaluate(focused).startswith("person #3 on bicycle #4, 3.00")
        page.keyboard.press("Enter")
        wait_until(page, "document.querySelector('video').currentTime >= 3")
        wait_until(page, "!document.querySelector('video').paused")
        page.keyboard.press("Enter")
        assert is_paused(page)
        page.keyboard.press("ArrowDown")
        assert page.evaluate(focused).startswith("person #3 in front of car #7")
        page.keyboard.press("Escape")
        assert not page.locator("#tip").is_visible()
        # One step leaves the timeline, to the first card.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "card"
        page.keyboard.press("Enter")
        wait_until(page, "document.querySelector('video').currentTime < 2")
        assert current_time(page) >= 1.0


def test_hovering_tells_of_the_event(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "report.html", DESKTOP, "light") as page:
        page.locator(".bar").first.hover()
        text = " ".join(page.locator("#tip").inner_text().split())
        assert "person #3 on bicycle #4" in text
        assert "1.00–2.00 s 1.00 s 0.90" in text  # noqa: RUF001
        assert page.locator("#tip img").count() == 1
        page.locator("h1").hover()
        assert not page.locator("#tip").is_visible()


def test_a_click_on_the_timeline_seeks(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "report.html", DESKTOP, "light") as page:
        wait_for_video(page)
        axis = page.locator("#axis").bounding_box()
        assert axis is not None
        page.locator("#axis").click(position={"x": axis["width"] * 0.7, "y": 5})
        wait_until(page, "document.querySelector('video').currentTime > 2")
        assert current_time(page) == pytest.approx(2.8, abs=0.05)
        head = page.locator("#playhead").bounding_box()
        assert head is not None
        assert (head["x"] - axis["x"]) / axis["width"] == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_zoom_widens_the_timeline_not_the_page(
    browser: Browser, folder: Path, size: tuple[int, int]
) -> None:
    with Opened(browser, folder / "report.html", size, "light") as page:
        before = page.locator("#axis").bounding_box()
        page.locator("#zoom-in").click()
        page.locator("#zoom-in").click()
        after = page.locator("#axis").bounding_box()
        assert before is not None
        assert after is not None
        assert after["width"] == pytest.approx(4 * before["width"], rel=0.02)
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_no_events_says_what_was_watched_for(
    browser: Browser, tmp_path: Path, size: tuple[int, int], scheme: Scheme
) -> None:
    path = write_page(tmp_path, "empty.html", summary())
    with Opened(browser, path, size, scheme) as page:
        text = page.locator("#empty").inner_text()
        assert "No events were found" in text
        assert "30 frames in 3.0 s were watched." in text
        assert "on, next to, hold" in text
        assert "person (2 tracks)" in text
        assert not page.locator("#timeline").is_visible()
        assert not page.locator("#filter").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        assert page.evaluate(LOWEST_CONTRASTS)[0][0] >= 4.5


def test_a_missing_video_is_told(browser: Browser, tmp_path: Path) -> None:
    path = write_page(tmp_path, "report.html", summary(EVENTS), video="gone.mp4")
    opened = Opened(browser, path, DESKTOP, "light")
    page = opened.page
    page.locator("#video-missing").wait_for(state="visible")
    assert "gone.mp4 should lie beside this page" in page.locator("#video-missing").inner_text()
    page.locator(".bar").first.click()
    page.close()
    assert [error for error in opened.errors if "ERR_FILE_NOT_FOUND" not in error] == []


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    hostile = event(predicate=bad, subject=Participant(bad, 3, (0.0, 0.0, 1.0, 1.0)))
    path = write_page(tmp_path, "bad.html", summary([hostile], info=stream(bad)))
    with Opened(browser, path, PHONE, "light") as page:
        assert page.locator("h1").inner_text() == bad
        assert page.locator(".card .predicate").inner_text() == bad
        assert page.locator("img").count() == 0
        page.locator(".bar").focus()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_thousands_of_events_stay_usable(browser: Browser, tmp_path: Path) -> None:
    def numbered(n: int) -> Event:
        return dataclasses.replace(
            event(n, PREDICATES[n % 3], n / 2, n / 2 + 3, score=n / 5000),
            subject=Participant("person", n % 250, (0.0, 0.0, 1.0, 1.0)),
        )

    run = summary([numbered(n) for n in range(5000)], num_frames=26_000)
    path = write_page(tmp_path, "many.html", run)
    with Opened(browser, path, DESKTOP, "light") as page:
        assert page.locator(".card").count() == 60
        assert page.locator(".rows > li").count() == 40
        assert page.locator("#more-rows").inner_text() == "Show more pairs (210 left)"
        page.locator("#more-cards").click()
        assert page.locator(".card").count() == 180
        page.locator("#more-rows").click()
        assert page.locator(".rows > li").count() == 200
        page.locator("#score").fill("0.99")  # of 0, 1/5000 ... 4999/5000
        wait_until(page, "document.querySelectorAll('.card').length === 50")


def test_printing_shows_all_events_and_no_controls(browser: Browser, folder: Path) -> None:
    with Opened(browser, folder / "report.html", DESKTOP, "dark") as page:
        page.emulate_media(media="print")
        assert not page.locator("#stage").is_visible()
        assert page.locator(".card").first.is_visible()
        assert page.locator(".bar").first.is_visible()
        background = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_an_explained_event_shows_why_when_it_is_chosen(browser: Browser, tmp_path: Path) -> None:
    opencv = pytest.importorskip("cv2")
    _, encoded = opencv.imencode(".jpg", np.full((90, 160, 3), 90, np.uint8))
    hostile = 'bicycle</script><img src=x onerror="alert(1)"> covered 0.12'
    explained = {EVENTS[0].event_id: Explained(encoded.tobytes(), hostile)}
    path = write_page(tmp_path, "why.html", summary(EVENTS), explained=explained)
    for size in (DESKTOP, PHONE):
        with Opened(browser, path, size, "light") as page:
            panel, picture = page.locator("#explained"), page.locator("#explanation img")
            assert not panel.is_visible()
            assert page.locator(".card .mark").all_inner_texts() == ["explained"]
            page.locator(".card").first.click()
            assert panel.is_visible()
            wait_until(page, "document.querySelector('#explanation img').naturalWidth === 160")
            assert picture.get_attribute("alt") == hostile
            assert page.locator("#explained-what").inner_text().startswith("person #3 on bicycle")
            # On a phone the picture is scrolled, not shrunk until its words can't be read.
            box = page.locator("#explanation").bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            page.locator(".card").nth(1).click()
            assert not panel.is_visible()
            page.locator(".bar").first.click()
            assert panel.is_visible()
