"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

const ROWS_AT_ONCE = 40;
const CARDS_AT_ONCE = 60;
const MAX_ZOOM = 64;
const HUES = 10;
const TICK_STEPS = [
  0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  14400, 28800, 86400,
];

// An empty timeline still needs a scale.
const duration = data.duration || 1;
const video = $("video");
const hueOf = new Map();
for (const event of data.events) {
  if (!hueOf.has(event.predicate)) hueOf.set(event.predicate, hueOf.size % HUES);
}

const state = {
  predicates: new Set(), // none: all are shown
  score: 0,
  rows: ROWS_AT_ONCE,
  cards: CARDS_AT_ONCE,
  zoom: 1,
  selected: null,
  shown: data.events,
};
let barOf = new Map(); // event → its bar
let cardOf = new Map(); // event → its card
let barRows = []; // bars as they lie, for the arrow keys

// ---- text

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key === "vars") for (const [k, v] of Object.entries(value)) made.style.setProperty(k, v);
    else if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function plural(n, one, many = one + "s") {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

function clock(seconds, digits) {
  if (duration < 60) return seconds.toFixed(digits);
  const unit = 10 ** digits;
  const rounded = Math.round(seconds * unit) / unit;
  const rest = rounded % 60;
  const text = rest.toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const minutes = Math.floor(rounded / 60);
  if (duration < 3600) return `${minutes}:${text}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${text}`;
}

const withUnit = (text) => (duration < 60 ? `${text} s` : text);
const span = (event) => withUnit(`${clock(event.start, 2)}–${clock(event.end, 2)}`);
const length = (event) => `${(event.end - event.start).toFixed(2)} s`;
const lasted = () => withUnit(clock(data.duration, data.duration < 60 ? 1 : 0));
const trackName = (track) => (track.track < 0 ? track.label : `${track.label} #${track.track}`);
const hue = (event) => `var(--hue-${hueOf.get(event.predicate)})`;

function sentence(event) {
  const pair = data.pairs[event.pair];
  return `${trackName(pair.subject)} ${event.predicate} ${trackName(pair.object)}`;
}

function spoken(event) {
  const [start, end] = [clock(event.start, 2), clock(event.end, 2)];
  const why = event.explanation ? ", explained" : "";
  return `${sentence(event)}, ${withUnit(`${start} to ${end}`)}, score ${event.score.toFixed(2)}${why}`;
}

function track(which) {
  return node("span", { class: "track", vars: { "--track": which.color } }, trackName(which));
}

function triplet(event) {
  const pair = data.pairs[event.pair];
  return node(
    "span",
    { class: "triplet", vars: { "--hue": hue(event) } },
    track(pair.subject),
    node("span", { class: "predicate" }, event.predicate),
    track(pair.object),
  );
}

function picture(event) {
  const image = event.thumbnail
    ? node("img", { src: event.thumbnail, alt: "", decoding: "async", loading: "lazy" })
    : "no picture";
  const mark = event.explanation ? [node("span", { class: "mark" }, "explained")] : [];
  return node("span", { class: "shot" }, image, ...mark);
}

function description(event) {
  return node(
    "span",
    { class: "text" },
    triplet(event),
    node("span", { class: "numbers" }, node("span", {}, span(event)), node("span", {}, length(event))),
    node(
      "span",
      { class: "strength" },
      node("span", { class: "meter", vars: { "--score": event.score, "--hue": hue(event) } }, node("i")),
      node("span", {}, event.score.toFixed(2)),
    ),
  );
}

// ---- head of the page

function fact(value, text) {
  return node("li", {}, node("strong", {}, value), ` ${text}`);
}

function counted(n, one) {
  const [value, ...words] = plural(n, one).split(" ");
  return fact(value, words.join(" "));
}

function showHead() {
  $("name").textContent = data.name;
  const [value, unit = "long"] = lasted().split(" ");
  $("facts").append(
    fact(value, unit),
    counted(data.events.length, "event"),
    counted(data.pairs.length, "pair"),
    counted(data.cuts.length, "shot cut"),
    counted(data.frames, "frame"),
    fact(`${data.size[0]} × ${data.size[1]}`, "pixels"),
  );
  const made = [
    ["Relations", data.run.bundle],
    ["Detector", data.run.detector],
    ["Config", data.run.config_hash],
    ["vinfer", data.run.version],
  ];
  for (const [name, value] of made) {
    if (value) $("made").append(node("dt", {}, name), node("dd", {}, value));
  }
  const problems = [];
  if (!data.complete) {
    problems.push(`The run ended early, after ${lasted()} of the stream.`);
  }
  const dropped = Object.entries(data.dropped).filter(([, n]) => n > 0);
  if (dropped.length) {
    const reasons = dropped.map(([reason, n]) => `${n} × ${reason.replaceAll("_", " ")}`);
    problems.push(`Left out: ${reasons.join(", ")}.`);
  }
  $("notice").textContent = problems.join(" ");
  $("notice").hidden = problems.length === 0;
}

function showEmpty() {
  $("empty").hidden = false;
  for (const id of ["timeline", "events", "filter", "now", "legend"]) $(id).hidden = true;
  $("stage").classList.add("without-video"); // what is beside the video is hidden
  const watched = `${plural(data.frames, "frame")} in ${lasted()}`;
  $("empty-frames").textContent = data.frames
    ? `${watched} were watched.`
    : "No frame could be read.";
  const facts = [];
  if (data.predicates.length) facts.push(["Watched for", data.predicates.join(", ")]);
  const seen = Object.entries(data.seen).map(([label, n]) => `${label} (${plural(n, "track")})`);
  if (data.frames) facts.push(["Objects seen", seen.join(", ") || "none"]);
  for (const [name, value] of facts) {
    $("empty-facts").append(node("dt", {}, name), node("dd", {}, value));
  }
}

// ---- filter

function passes(event) {
  const chosen = state.predicates.size === 0 || state.predicates.has(event.predicate);
  return chosen && event.score >= state.score;
}

function showChips() {
  const counts = new Map([...hueOf.keys()].map((predicate) => [predicate, 0]));
  for (const event of data.events) counts.set(event.predicate, counts.get(event.predicate) + 1);
  const chip = (text, n, attributes) =>
    node(
      "button",
      { type: "button", ...attributes },
      text,
      node("span", { class: "n" }, n.toLocaleString("en")),
    );
  const all = chip("All", data.events.length, {
    class: "all",
    onclick: () => choose(() => state.predicates.clear()),
  });
  $("chips").append(all);
  for (const [predicate, n] of [...counts].sort((a, b) => b[1] - a[1])) {
    const made = chip(predicate, n, {
      vars: { "--hue": `var(--hue-${hueOf.get(predicate)})` },
      onclick: () => choose(() => {
        if (!state.predicates.delete(predicate)) state.predicates.add(predicate);
      }),
    });
    made.dataset.predicate = predicate;
    $("chips").append(made);
  }
}

function choose(change) {
  change();
  state.rows = ROWS_AT_ONCE;
  state.cards = CARDS_AT_ONCE;
  showFiltered();
}

function showFiltered() {
  for (const chip of $("chips").children) {
    const { predicate } = chip.dataset;
    const pressed =
      predicate === undefined ? state.predicates.size === 0 : state.predicates.has(predicate);
    chip.setAttribute("aria-pressed", String(pressed));
  }
  $("score-value").textContent = state.score.toFixed(2);
  state.shown = data.events.filter(passes);
  $("count").textContent =
    state.shown.length === data.events.length
      ? `All ${plural(data.events.length, "event")} shown`
      : `${state.shown.length.toLocaleString("en")} of ${plural(data.events.length, "event")} shown`;
  $("timeline").hidden = state.shown.length === 0;
  $("nothing").hidden = state.shown.length > 0;
  showRows();
  showCards();
  showTime();
}

// ---- timeline

const percent = (seconds) => `${(100 * Math.min(seconds, duration)) / duration}%`;

function lanesOf(events) {
  // Each event takes the first lane whose last bar has ended, so that bars never overlap.
  const ends = [];
  return events.map((event) => {
    let lane = ends.findIndex((end) => end <= event.start);
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = Math.max(event.end, event.start + 1e-6);
    return lane;
  });
}

function showRows() {
  const byPair = Map.groupBy(state.shown, (event) => event.pair);
  barOf = new Map();
  barRows = [];
  const rows = [];
  for (const [index, events] of [...byPair].slice(0, state.rows)) {
    const pair = data.pairs[index];
    const lanes = lanesOf(events);
    const bars = events.map((event, i) => bar(event, lanes[i]));
    barRows.push(bars);
    rows.push(
      node(
        "li",
        {},
        node("div", { class: "pair" }, track(pair.subject), "–", track(pair.object)),
        node("div", { class: "lanes", vars: { "--lanes": Math.max(...lanes) + 1 } }, ...bars),
      ),
    );
  }
  $("rows").replaceChildren(...rows);
  // One stop of the tab key for the whole timeline; arrow keys move within it.
  if (barRows.length) barRows[0][0].tabIndex = 0;
  const hidden = byPair.size - rows.length;
  $("more-rows").hidden = hidden <= 0;
  $("more-rows").textContent = `Show more pairs (${hidden.toLocaleString("en")} left)`;
  fitBars();
}

function bar(event, lane) {
  const made = node(
    "button",
    {
      type: "button",
      class: "bar",
      tabindex: -1,
      "aria-label": spoken(event),
      vars: { "--hue": hue(event), "--lane": lane },
      onclick: () => activate(event),
    },
    node("span", {}, event.predicate),
  );
  made.style.left = percent(event.start);
  made.style.width = percent(event.end - event.start);
  made.addEventListener("pointerenter", () => showTip(event, made));
  made.addEventListener("pointerleave", hideTip);
  made.addEventListener("focus", () => {
    setTabStop(made);
    if (made.matches(":focus-visible")) showTip(event, made);
  });
  made.addEventListener("blur", hideTip);
  barOf.set(event, made);
  return made;
}

function fitBars() {
  // A word that does not fit stands behind or before its bar if there is room, else it is left to
  // the tip. All is measured before anything is changed: one layout for thousands of bars.
  const width = $("axis").clientWidth;
  const places = barRows.flatMap((bars) =>
    [...Map.groupBy(bars, (made) => made.style.getPropertyValue("--lane")).values()].flatMap(
      (lane) => placeWords(lane, width),
    ),
  );
  for (const [made, place] of places) made.dataset.word = place;
}

function placeWords(lane, width) {
  let taken = 0; // pixels, up to the end of the last bar or of its word
  return lane.map((made, i) => {
    const left = made.offsetLeft;
    const right = left + made.offsetWidth;
    const need = wordWidth(made.textContent) + 12;
    const next = lane[i + 1]?.offsetLeft ?? width;
    const fits = { inside: need <= right - left, after: need <= next - right, before: need <= left - taken };
    const place = ["inside", "after", "before"].find((name) => fits[name]) ?? "none";
    taken = right + (place === "after" ? need : 0);
    return [made, place];
  });
}

const wordWidths = new Map();
function wordWidth(word) {
  // Each predicate once, in a bar of its own: the size on screen depends on the reader's font.
  if (!wordWidths.has(word)) {
    const sample = node("span", { class: "bar" }, node("span", {}, word));
    $("cuts").append(sample);
    wordWidths.set(word, sample.firstElementChild.offsetWidth);
    sample.remove();
  }
  return wordWidths.get(word);
}

function setTabStop(made) {
  for (const other of barOf.values()) other.tabIndex = -1;
  made.tabIndex = 0;
}

function moveInTimeline(key, from) {
  const row = barRows.findIndex((bars) => bars.includes(from));
  const column = barRows[row].indexOf(from);
  const middle = (made) => made.offsetLeft + made.offsetWidth / 2;
  const nearest = (bars) =>
    bars.reduce((best, made) =>
      Math.abs(middle(made) - middle(from)) < Math.abs(middle(best) - middle(from)) ? made : best,
    );
  const target = {
    ArrowLeft: () => barRows[row][column - 1],
    ArrowRight: () => barRows[row][column + 1],
    ArrowUp: () => barRows[row - 1] && nearest(barRows[row - 1]),
    ArrowDown: () => barRows[row + 1] && nearest(barRows[row + 1]),
    Home: () => barRows[row][0],
    End: () => barRows[row].at(-1),
  }[key];
  if (!target) return false;
  target()?.focus();
  return true;
}

function showAxis() {
  const width = $("axis").clientWidth;
  const step = TICK_STEPS.find((s) => (s / duration) * width >= 64) ?? TICK_STEPS.at(-1);
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  const ticks = [];
  for (let i = 0; i * step <= duration * (1 + 1e-9); i += 1) {
    const tick = node("span", {}, clock(i * step, digits) + (duration < 60 ? " s" : ""));
    tick.style.left = percent(i * step);
    // A centred label would stick out at the right end.
    if ((1 - (i * step) / duration) * width < 20) tick.className = "last";
    ticks.push(tick);
  }
  $("axis").replaceChildren(...ticks);
}

function showCuts() {
  for (const time of data.cuts) {
    const cut = node("div", { class: "cut" });
    cut.style.left = percent(time);
    $("cuts").append(cut);
  }
  if (data.cuts.length) $("timeline-hint").append(node("span", { class: "mark" }), "shot cut");
}

function setZoom(zoom) {
  const scroll = $("scroll");
  const time = video.currentTime || ((scroll.scrollLeft + 1) / scroll.scrollWidth) * duration;
  state.zoom = Math.min(MAX_ZOOM, Math.max(1, zoom));
  $("canvas").style.setProperty("--zoom", state.zoom);
  $("zoom-value").textContent = `${state.zoom}×`;
  $("zoom-out").disabled = state.zoom === 1;
  $("zoom-in").disabled = state.zoom === MAX_ZOOM;
  showAxis();
  fitBars();
  scroll.scrollLeft = (time / duration) * $("axis").clientWidth - scroll.clientWidth / 3;
}

// ---- tooltip

function showTip(event, beside) {
  const tip = $("tip");
  const children = event.thumbnail ? [picture(event), description(event)] : [description(event)];
  tip.replaceChildren(...children);
  tip.hidden = false;
  const place = beside.getBoundingClientRect();
  const left = place.left + place.width / 2 - tip.offsetWidth / 2;
  const below = place.bottom + 8;
  const fits = below + tip.offsetHeight <= innerHeight;
  tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${fits ? below : Math.max(8, place.top - 8 - tip.offsetHeight)}px`;
}

function hideTip() {
  $("tip").hidden = true;
}

// ---- cards

function showCards() {
  cardOf = new Map();
  const shown = state.shown.slice(0, state.cards);
  $("cards").replaceChildren(...shown.map((event) => node("li", {}, card(event))));
  const hidden = state.shown.length - shown.length;
  $("more-cards").hidden = hidden <= 0;
  $("more-cards").textContent = `Show more events (${hidden.toLocaleString("en")} left)`;
}

function card(event) {
  const made = node(
    "button",
    { type: "button", class: "card", "aria-label": spoken(event), onclick: () => activate(event) },
    picture(event),
    description(event),
  );
  cardOf.set(event, made);
  return made;
}

// ---- why an event was reported

function showExplanation(event) {
  $("explained").hidden = !event.explanation;
  if (!event.explanation) return;
  $("explained-what").textContent = `${sentence(event)}, ${span(event)}`;
  const { picture: src, text: alt } = event.explanation;
  $("explanation").replaceChildren(node("img", { src, alt }));
}

// ---- video

function activate(event) {
  const again = state.selected === event;
  state.selected = event;
  showExplanation(event);
  if (!data.video || video.error) {
    showTime();
    // A card may lie far below it.
    if (event.explanation) $("explained").scrollIntoView({ block: "nearest" });
    return;
  }
  if (again && !video.paused) {
    video.pause();
    return;
  }
  seek(event.start);
  // Refused when another seek interrupts it: then that one plays.
  video.play().catch(() => {});
  // On a phone the video is far above the card.
  const place = $("player").getBoundingClientRect();
  if (place.bottom < 80 || place.top > innerHeight - 80) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("player").scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }
}

function seek(time) {
  // Decimals cut off from a time would show the frame before.
  video.currentTime = Math.min(time + 0.001, duration);
}

function isOn(event, time) {
  return event.start <= time + 0.001 && time <= Math.max(event.end, event.start + 0.04);
}

function showTime() {
  const time = data.video ? video.currentTime : -1;
  $("playhead").style.left = percent(Math.max(0, time));
  $("now-time").textContent = withUnit(clock(Math.max(0, time), 2));
  const current = state.shown.filter((event) => isOn(event, time));
  const active = new Set(data.video ? current : [state.selected]);
  for (const made of [barOf, cardOf]) {
    for (const [event, element] of made) element.classList.toggle("active", active.has(event));
  }
  const key = current.map((event) => event.id).join();
  if ($("now-list").dataset.key === key && $("now-list").childElementCount) return;
  $("now-list").dataset.key = key;
  const lines = current.slice(0, 8).map((event) =>
    node(
      "li",
      {},
      node("button", { type: "button", "aria-label": spoken(event), onclick: () => activate(event) },
        triplet(event), node("span", { class: "soft figures" }, event.score.toFixed(2))),
    ),
  );
  if (current.length > lines.length) {
    lines.push(node("li", { class: "soft" }, `and ${current.length - lines.length} more`));
  }
  if (!lines.length) lines.push(node("li", { class: "soft" }, "No event at this moment."));
  $("now-list").replaceChildren(...lines);
}

function followVideo() {
  showTime();
  if (!video.paused && !video.ended) requestAnimationFrame(followVideo);
}

function showVideo() {
  if (!data.video) {
    $("stage").classList.add("without-video");
    $("playhead").hidden = true;
    return;
  }
  $("player").hidden = false;
  $("now").hidden = false;
  for (const name of ["seeked", "timeupdate", "loadedmetadata"]) {
    video.addEventListener(name, showTime);
  }
  video.addEventListener("play", followVideo);
  video.addEventListener("error", () => {
    video.hidden = true;
    $("player").classList.add("missing");
    $("video-missing").hidden = false;
    $("video-missing").textContent =
      `The video can't be played: ${decodeURIComponent(data.video)} should lie beside this page.`;
  });
  video.src = data.video;
}

// ---- start

function listen() {
  let waiting = false;
  $("score").addEventListener("input", () => {
    state.score = Number($("score").value);
    if (waiting) return;
    waiting = true; // thousands of bars are drawn once a frame at most
    requestAnimationFrame(() => {
      waiting = false;
      choose(() => {});
    });
  });
  $("reset").addEventListener("click", () =>
    choose(() => {
      state.predicates.clear();
      state.score = 0;
      $("score").value = "0";
    }),
  );
  $("more-rows").addEventListener("click", () => {
    state.rows += 4 * ROWS_AT_ONCE;
    showRows();
    showTime();
  });
  $("more-cards").addEventListener("click", () => {
    const first = state.cards;
    state.cards += 2 * CARDS_AT_ONCE;
    showCards();
    showTime();
    $("cards").children[first]?.firstElementChild.focus();
  });
  $("zoom-in").addEventListener("click", () => setZoom(state.zoom * 2));
  $("zoom-out").addEventListener("click", () => setZoom(state.zoom / 2));
  $("rows").addEventListener("keydown", (key) => {
    if (!key.target.classList.contains("bar")) return;
    if (moveInTimeline(key.key, key.target)) key.preventDefault();
  });
  $("canvas").addEventListener("click", (click) => {
    // Bars have their own click; names are no place in time.
    if (!data.video || click.target.closest(".bar, .pair")) return;
    const place = $("axis").getBoundingClientRect();
    const share = (click.clientX - place.left) / place.width;
    if (share >= 0 && share <= 1) seek(share * duration);
  });
  document.addEventListener("keydown", (key) => {
    if (key.key === "Escape") hideTip();
  });
  addEventListener("scroll", hideTip, { passive: true });
  addEventListener("beforeprint", () => {
    state.cards = Infinity;
    showCards();
  });
  let width = 0;
  new ResizeObserver(() => {
    if ($("axis").clientWidth === width) return;
    width = $("axis").clientWidth;
    showAxis();
    fitBars();
  }).observe($("axis"));
}

document.documentElement.style.setProperty(
  "--aspect",
  String(Math.min(2.4, Math.max(1, data.size[0] / data.size[1] || 1.78))),
);
showHead();
showVideo();
if (data.events.length) {
  showChips();
  showCuts();
  listen();
  showFiltered();
  setZoom(1);
} else {
  showEmpty();
}
