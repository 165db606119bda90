// One call: its steps, everything on one time axis, its streams, what was said first, and the sound.
//
// Read next: axis.js, streams.js, tracks.js; listen.js and recording.js for the sound.

import { now, on } from "./feed.js";
import { fill, h, icon, mark, say } from "./dom.js";
import { day, details, duration, offset, seconds } from "./format.js";
import { STATE_WORDS, stateOf, stepList } from "./steps.js";
import { Axis, makeLanes } from "./axis.js";
import { StreamView } from "./streams.js";
import { makeListening } from "./listen.js";
import { makePlayers } from "./recording.js";
import { drawPapers } from "./papers.js";

export const title = "Call";
export const wants = (id) => ({ call: id });

const WINDOW = 20; // seconds that are shown while a call goes on, unless all of it is wanted
const MOST_LINES = 700;
const UNTOLD = new Set(["progress", "message", "handled"]); // shown elsewhere, or of little use

export function open(root, id) {
  const view = new CallView(root, id);
  const ends = [
    on("call", (message) => message.asked === id && view.take(message)),
    on("peaks", ({ peaks }) => view.hear(peaks)),
    on("lost", () => view.breakOff()),
  ];
  const redraw = () => view.draw(true);
  addEventListener("theme", redraw);
  addEventListener("resize", redraw);
  let frame = requestAnimationFrame(function next() {
    view.draw(false);
    frame = requestAnimationFrame(next);
  });
  const timer = setInterval(() => view.showTimes(), 250);
  return () => {
    ends.forEach((end) => end());
    removeEventListener("theme", redraw);
    removeEventListener("resize", redraw);
    cancelAnimationFrame(frame);
    clearInterval(timer);
    view.close();
  };
}

class CallView {
  constructor(root, id) {
    this.id = id;
    this.card = null;
    this.lines = [];
    this.streams = new Map();
    this.axis = new Axis();
    this.whole = false;
    this.drawnAt = 0;
    this.steps = stepList();
    this.lanes = makeLanes(() => this.showWhole(true));
    this.listening = makeListening(id);
    this.players = makePlayers(this.axis);
    this.build(root);
  }

  build(root) {
    this.heading = h("h1", {}, "Call");
    this.chips = h("div", { class: "chips" });
    this.time = h("span", { class: "soft" });
    this.tracks = h("div", { class: "all-tracks" });
    this.accounts = h("div", { class: "stack" });
    this.papers = h("div", { class: "stack" });
    this.events = h("ol", { class: "events" });
    this.missing = h("div", { hidden: true });
    this.wholeButton = h("button", { type: "button", "aria-pressed": "false", on: { click: () => this.showWhole(!this.whole) } }, "Whole call");
    this.place = h("div", { class: "axis" }, this.lanes.element, this.tracks);
    this.content = h("div", { class: "call-grid", hidden: true },
      h("div", { class: "stack" },
        this.listening.element,
        h("section", { class: "panel", "aria-label": "Time axis" },
          h("header", {}, h("h2", {}, "One time axis"),
            h("span", { class: "hint legend" }, h("i", { class: "event-key" }), "seen here", h("i", { class: "made-key" }), "made by the platform", h("i", { class: "gap-key" }), "gap"),
            h("span", { class: "spread" }, this.wholeButton)),
          this.place, this.players.element),
        this.accounts, this.papers),
      h("aside", { class: "stack" },
        h("section", { class: "panel", "aria-label": "Steps" }, h("header", {}, h("h2", {}, "In the debug order")), h("div", { class: "body" }, this.steps.element)),
        h("section", { class: "panel", "aria-label": "Events" }, h("header", {}, h("h2", {}, "What happened"),
          h("a", { class: "spread", href: `#/logs/${encodeURIComponent(this.id)}` }, "In the logs")), this.events)));
    root.append(
      h("div", { class: "title-row" }, h("a", { class: "button icon-only", href: "#/calls", "aria-label": "All calls" }, icon("back")),
        h("div", { class: "call-title" }, this.heading, h("p", { class: "mono soft" }, this.id)),
        this.chips, h("div", { class: "spread" }, this.time, this.listening.button)),
      this.missing, this.content);
  }

  take(message) {
    this.card = message.card;
    this.missing.hidden = Boolean(this.card);
    this.content.hidden = !this.card;
    if (!this.card) {
      fill(this.missing, h("div", { class: "panel empty" }, icon("phone"), h("h2", {}, "This call is not remembered"),
        h("p", {}, "The console remembers the latest calls. Older ones stand in the log files:"), h("code", {}, "minivoice-ref explain CALL")));
      return;
    }
    if (message.all) this.clear();
    message.lines.forEach((line) => this.takeLine(line));
    const live = new Set(message.streams.map((state) => state.id));
    for (const state of message.streams) this.stream(state.id).state = state;
    for (const stream of this.streams.values()) {
      stream.live = live.has(stream.id);
      stream.showSums();
    }
    this.steps.update(message.explanation.steps);
    this.showHead();
    if (message.lines.length) {
      drawPapers(this.papers, [...this.streams.values()]);
      this.showEvents();
    }
    this.players.update(this.card, [...this.streams.values()]);
    this.listening.update(this.card.live);
    this.draw(true);
  }

  /** Begin anew with the lines that come; the peaks stay, what comes next need not follow them. */
  clear() {
    this.lines = [];
    this.lanes.clear();
    for (const stream of this.streams.values()) {
      stream.lines = [];
      for (const track of stream.tracks.values()) track.gaps = [];
    }
    this.breakOff();
  }

  breakOff() {
    for (const stream of this.streams.values()) {
      for (const track of stream.tracks.values()) track.peaks.breakOff();
    }
  }

  takeLine(line) {
    this.lines.push(line);
    this.lines.splice(0, this.lines.length - MOST_LINES);
    this.lanes.take([line]);
    if (line.stream_id && line.log === "streams") this.stream(line.stream_id).take(line);
  }

  stream(id) {
    if (!this.streams.has(id)) {
      const stream = new StreamView(id);
      this.streams.set(id, stream);
      this.tracks.append(stream.rows);
      this.accounts.append(stream.panel());
    }
    return this.streams.get(id);
  }

  hear(peaks) {
    for (const [id, tracks] of Object.entries(peaks)) this.stream(id).hear(tracks);
  }

  showHead() {
    const card = this.card;
    const parties = card.from || card.to ? `${card.from ?? "?"} → ${card.to ?? "?"}` : "Call";
    say(this.heading, parties);
    const state = stateOf(card);
    const key = JSON.stringify([state, card.direction, card.dialects, card.verdict, card.nodes]);
    if (this.chips.dataset.shown === key) return;
    this.chips.dataset.shown = key;
    fill(this.chips,
      h("span", { class: "chip", "data-state": state, role: "status" }, card.live ? h("i", { class: "pulse" }) : null, STATE_WORDS[state]),
      card.live && card.verdict === "fail" ? h("span", { class: "chip", "data-state": "fail" }, "Something failed") : null,
      card.direction ? h("span", { class: "chip" }, card.direction) : null,
      card.dialects.map((one) => h("span", { class: "chip" }, one)),
      card.nodes.map((one) => h("span", { class: "chip", "data-node": "", title: "The process that has the stream" }, `at ${one}`)));
  }

  showTimes() {
    if (!this.card) return;
    const began = seconds(this.card.began);
    const end = this.card.over ? seconds(this.card.ended) : now();
    say(this.time, `${day(this.card.began)} · ${duration(end - began)}`);
  }

  showEvents() {
    const began = seconds(this.card.began);
    const told = this.lines.filter((line) => !UNTOLD.has(line.what));
    told.sort((one, other) => (one.time < other.time ? -1 : Number(one.time > other.time)));
    fill(this.events, runsOf(told).map(([line, ...more]) => h("li", { "data-level": line.level, "data-log": line.log, tabindex: "-1", title: details(line) },
      h("span", { class: "mono soft" }, offset(seconds(line.time) - began)),
      h("span", {}, h("i", { class: "dot", "data-log": line.log, title: line.log }), h("span", { class: "sr" }, `${line.log}: `), nameOf(line),
        line.code ? [" ", h("span", { class: "code", "data-remark": line.level === "error" ? null : "" }, line.code)] : null,
        more.length ? h("span", { class: "soft", title: `until ${offset(seconds(more.at(-1).time) - began)}` }, ` × ${more.length + 1}`) : null))));
  }

  showWhole(whole) {
    this.whole = whole;
    mark(this.wholeButton, "aria-pressed", String(whole));
    this.draw(true);
  }

  /** Draw the axis: thirty times a second while something moves, else when something changed. */
  draw(atOnce) {
    if (!this.card || document.hidden) return;
    const time = performance.now();
    const moves = !this.card.over || this.players.playing;
    if (!atOnce && (!moves || time - this.drawnAt < 33)) return;
    this.drawnAt = time;
    const began = seconds(this.card.began);
    const span = this.lanes.span() ?? [began, began + 1];
    const end = this.card.over ? Math.max(span[1], this.lastSound()) : now();
    const moving = !this.card.over && !this.whole && end - span[0] > WINDOW;
    this.wholeButton.hidden = this.card.over || end - span[0] <= WINDOW;
    this.axis.from = moving ? end - WINDOW : span[0] - 0.012 * (end - span[0]);
    this.axis.to = Math.max(end, this.axis.from + 1) + (this.card.over ? 0.02 * (end - this.axis.from) : 0);
    const place = this.place.querySelector(".lane-place");
    this.axis.width = Math.max(1, place.clientWidth);
    this.lanes.draw(this.axis, began);
    for (const stream of this.streams.values()) stream.draw(this.axis);
    this.players.draw();
  }

  lastSound() {
    const ends = [...this.streams.values()].flatMap((stream) =>
      [...stream.tracks.values()].map((track) => (stream.zero ?? 0) + track.peaks.last / 50));
    return Math.max(0, ...ends);
  }

  close() {
    this.listening.close();
    this.players.close();
  }
}

/** What an event is called: a webhook by its event, and what became of it if not simply accepted. */
function nameOf(line) {
  return line.event ? `${line.event}${line.what === "accepted" ? "" : ` ${line.what}`}` : line.what;
}

/** Lines one behind the other that say the same, together. */
function runsOf(lines) {
  const runs = [];
  for (const line of lines) {
    const before = runs.at(-1)?.[0];
    if (before && before.log === line.log && before.code === line.code && nameOf(before) === nameOf(line)) runs.at(-1).push(line);
    else runs.push([line]);
  }
  return runs;
}
