// The streams of the open call: for each its tracks on the time axis, its sums, and how they come.

import { fill, h, mark, say } from "./dom.js";
import { count, decibels, duration, meter, seconds } from "./format.js";
import { Peaks, drawTrack } from "./tracks.js";

const LABELS = { inbound: "Inbound", outbound: "Outbound", mixed: "Mixed" };
const WHO = { inbound: "the caller", outbound: "the agent", mixed: "both in one" };

/** One stream. `lines` are those of the log that name it. */
export class StreamView {
  constructor(id) {
    this.id = id;
    this.lines = [];
    this.rate = 8000;
    this.zero = null; // when its position 0 was, by our clock
    this.tracks = new Map();
    this.state = null;
    this.live = false;
    this.rows = h("div", { class: "tracks" });
    this.sums = h("tbody", {});
    this.facts = h("dl", { class: "facts" });
  }

  /** Read what a line tells of the stream. */
  take(line) {
    this.lines.push(line);
    if (line.what === "started") this.rate = Number(String(line.format).split("/")[1]) || 8000;
    if (line.what === "first_media") {
      const zero = seconds(line.time) - (line.position ?? 0) / this.rate;
      this.zero = this.zero === null ? zero : Math.min(this.zero, zero);
      this.track(line.track);
    }
    if (line.what === "gap") {
      this.track(line.track).gaps.push([line.position / this.rate, (line.position + line.samples) / this.rate]);
    }
    if (line.what === "account" || line.what === "progress") this.state = { ...line, coming: {} };
  }

  track(name) {
    if (!this.tracks.has(name)) {
      const canvas = h("canvas", { class: "wave", role: "img" });
      const bar = h("i", { "data-track": name });
      const level = h("div", { class: "meter", role: "meter", "aria-label": `${LABELS[name] ?? name} level`, "aria-valuemin": "-60", "aria-valuemax": "0", "aria-valuenow": "-60" }, bar);
      const figures = h("span", { class: "hint" });
      const row = h("div", { class: "lane track", "data-track": name },
        h("div", { class: "lane-name" }, h("b", { "data-track": name }, LABELS[name] ?? name),
          h("span", { class: "hint" }, WHO[name] ?? ""), level, figures),
        h("div", { class: "lane-place" }, canvas));
      this.tracks.set(name, { name, canvas, bar, level, figures, row, peaks: new Peaks(), gaps: [], heard: 0 });
      const order = ["inbound", "outbound", "mixed"];
      const rows = [...this.tracks.values()].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
      fill(this.rows, rows.map((one) => one.row));
    }
    return this.tracks.get(name);
  }

  /** Add peaks as the feed brings them. */
  hear(tracks) {
    for (const [name, runs] of Object.entries(tracks)) {
      const track = this.track(name);
      for (const run of runs) track.peaks.put(run);
      track.heard = performance.now();
    }
  }

  /** Draw the tracks. Those of a stream that has not begun are not there. */
  draw(axis) {
    for (const track of this.tracks.values()) {
      if (this.zero === null) this.zero = axis.to - track.peaks.last / 50;
      drawTrack(track.canvas, { peaks: track.peaks, axis, zero: this.zero, gaps: track.gaps, track: track.name });
      const fresh = this.live && performance.now() - track.heard < 400;
      track.bar.style.transform = `scaleX(${(fresh ? meter(track.peaks.latest) : 0).toFixed(3)})`;
    }
  }

  /** Show the sums; seldom, because people read them. */
  showSums() {
    const sums = this.state?.tracks ?? {};
    fill(this.sums, Object.entries(sums).map(([name, one]) => this.sumsRow(name, one)));
    for (const track of this.tracks.values()) {
      const own = sums[track.name];
      say(track.figures, own ? figures(own, this.rate) : "");
      const level = this.live ? decibels(track.peaks.latest) : -60;
      mark(track.level, "aria-valuenow", level.toFixed(0));
      mark(track.canvas, "aria-label", `${LABELS[track.name] ?? track.name}: waveform. ${own ? figures(own, this.rate) : ""}`);
      mark(track.canvas, "data-bins", track.peaks.last + 1);
      mark(track.canvas, "data-audible", track.peaks.audible());
      mark(track.canvas, "data-gaps", track.gaps.length + track.peaks.holes(0, track.peaks.last).length);
    }
    this.showFacts();
  }

  sumsRow(name, one) {
    const coming = this.state.coming?.[name];
    const waiting = this.state.waiting?.[name];
    const lost = (samples) => [count(samples), samples ? h("span", { class: "hint" }, ` ${(samples / this.rate).toFixed(2)} s`) : null];
    return h("tr", {},
      h("th", { scope: "row" }, h("b", { "data-track": name }, LABELS[name] ?? name)),
      h("td", {}, `${Number(one.seconds).toFixed(2)} s`),
      h("td", {}, count(one.received)),
      h("td", { "data-bad": one.lost ? "" : null }, lost(one.lost)),
      h("td", {}, lost(one.late)),
      h("td", {}, count(one.repeated)),
      h("td", {}, count(one.discarded)),
      h("td", {}, coming?.rate == null ? "–" : `${coming.rate.toFixed(1)} /s`),
      h("td", {}, coming ? `${coming.jitter_ms.toFixed(1)} ms` : "–"),
      h("td", {}, waiting === undefined ? "–" : `${(waiting / this.rate).toFixed(2)} s`));
  }

  showFacts() {
    const find = (what) => this.lines.findLast((line) => line.what === what);
    const started = find("started");
    const ended = find("disconnected");
    const dropped = Object.values(this.state?.dropped ?? {}).reduce((sum, one) => sum + one, 0);
    const facts = [
      ["Stream", h("span", { class: "mono" }, this.id)],
      ["Format", started ? `${started.format}, ${started.dialect}${started.assumed ? " (assumed)" : ""}` : "not known yet"],
      ["Messages", this.state ? `${count(this.state.messages)}, ${count(this.state.bytes)} bytes` : "–"],
      ["Gaps", this.state ? `${count(this.state.gaps)}${this.rationed("gap")}` : "–"],
      ["Unknown messages", this.state ? count(this.state.unknown) : "–"],
      ["Dropped before on_stream", this.state ? `${count(dropped)} samples${this.state.lagging ? ", lagging now" : ""}` : "–"],
      ["End", ended ? `${ended.how} by ${ended.by}, ${ended.close_code}${ended.reason ? `: ${ended.reason}` : ""}` : this.live ? "going on" : "–"],
    ];
    fill(this.facts, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  /** How many of a kind the log tells of, where it has told of the first ones only. */
  rationed(what) {
    const told = this.lines.filter((line) => line.what === what);
    return told.some((line) => line.more) ? ` (the log tells of the first ${told.length})` : "";
  }

  /** The panel with the account. */
  panel() {
    const heads = ["Track", "Received", "Samples", "Lost", "Late", "Repeated", "Discarded", "Rate", "Jitter", "Queue lag"];
    return h("section", { class: "panel", "aria-label": "Account of the stream" },
      h("header", {}, h("h2", {}, "Account"), h("span", { class: "hint" }, "received + lost = expected, always")),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Account by track" },
        h("table", { class: "account" },
          h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), this.sums)),
      h("div", { class: "body" }, this.facts));
  }
}

function figures(sums, rate) {
  const lost = sums.lost ? `, lost ${(sums.lost / rate).toFixed(2)} s` : "";
  const late = sums.late ? `, late ${(sums.late / rate).toFixed(2)} s` : "";
  return `${duration(Number(sums.seconds))}${lost}${late}`;
}
