// One track of a stream: its peaks, and how they are drawn.
//
// Peaks come 50 a second, each a byte (peaks.py); bin n lies n/50 s after the stream's position 0.
// They come while somebody watches, so what was not watched is unknown, which is not a gap: a gap is
// a hole in what was watched, or one that the log tells of.

import { colour } from "./dom.js";

export const BINS = 50;
const LATE = 15; // bins that may still come late before a hole is shown as one

export class Peaks {
  constructor() {
    this.data = new Uint8Array(3000); // 0: nothing known, else the peak and one
    this.last = -1;
    this.ranges = []; // what was watched: [first bin, last bin]
    this.broken = true;
    this.latest = 0;
  }

  /** Add a run of neighbours. */
  put([first, ...peaks]) {
    const end = first + peaks.length;
    if (first < 0 || end > 50 * 3600 * 24) return;
    this.grow(end);
    peaks.forEach((peak, at) => {
      this.data[first + at] = Math.max(this.data[first + at], Math.min(peak, 254) + 1);
    });
    this.latest = peaks.at(-1) ?? 0;
    if (this.broken) this.ranges.push([first, end - 1]);
    this.broken = false;
    const range = this.ranges.at(-1);
    range[0] = Math.min(range[0], first);
    range[1] = Math.max(range[1], end - 1);
    this.last = Math.max(this.last, end - 1);
  }

  /** Say that what comes next does not follow what came last. */
  breakOff() {
    this.broken = true;
  }

  /** Take all peaks of a recording in the place of what was watched. It has silence where nothing
   *  came: the holes that were seen stay holes. */
  replace(peaks) {
    const holes = this.holes(0, this.last);
    this.grow(peaks.length);
    peaks.forEach((peak, at) => { this.data[at] = Math.min(peak, 254) + 1; });
    this.last = Math.max(this.last, peaks.length - 1);
    this.ranges = [[0, this.last]];
    holes.forEach(([first, end]) => this.data.fill(0, first, end));
  }

  /** Take the peaks of a recording for what came before anybody watched. */
  fillPast(peaks) {
    const until = Math.min(this.ranges[0]?.[0] ?? peaks.length, peaks.length);
    this.grow(until);
    for (let at = 0; at < until; at++) this.data[at] = Math.min(peaks[at], 254) + 1;
    if (until > 0) this.ranges.unshift([0, until - 1]);
    this.last = Math.max(this.last, until - 1);
  }

  /** The holes in what was watched, as [first bin, end bin]. */
  holes(from, to) {
    const found = [];
    for (const [first, last] of this.ranges) {
      let start = -1;
      for (let at = Math.max(first, from); at <= Math.min(last - LATE, to); at++) {
        if (this.data[at] === 0) {
          if (start < 0) start = at;
        } else if (start >= 0) {
          found.push([start, at]);
          start = -1;
        }
      }
      if (start >= 0) found.push([start, Math.min(last - LATE, to)]);
    }
    return found;
  }

  /** How many bins sound louder than digital silence. */
  audible() {
    return this.data.reduce((sum, value) => sum + (value > 1 ? 1 : 0), 0);
  }

  grow(size) {
    if (size <= this.data.length) return;
    const bigger = new Uint8Array(Math.max(size, this.data.length * 2));
    bigger.set(this.data);
    this.data = bigger;
  }
}

/** Fit a canvas to its place; its context in CSS pixels, and its size. */
export function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** Draw one track. `axis` maps seconds since 1970 to pixels; `zero` is where its position 0 lies;
 *  `gaps` are [from, to] in seconds from there, as the log tells. */
export function drawTrack(canvas, { peaks, axis, zero, gaps, track }) {
  const { context, width, height } = fit(canvas);
  const middle = height / 2;
  const binAt = (x) => Math.floor((axis.time(x) - zero) * BINS);
  const xOf = (bin) => axis.x(zero + bin / BINS);
  context.fillStyle = colour("line");
  context.fillRect(0, middle - 0.5, width, 1);
  const from = Math.max(0, binAt(0));
  const to = Math.max(0, binAt(width) + 1);
  drawUnknown(context, peaks, xOf, height);
  drawWave(context, peaks, { width, middle, binAt, xOf, track });
  const holes = peaks.holes(from, to).map(([first, end]) => [xOf(first), xOf(end)]);
  const told = gaps.map(([first, end]) => [axis.x(zero + first), axis.x(zero + end)]);
  [...holes, ...told].forEach(([first, end]) => drawGap(context, first, end, width, height));
}

function drawWave(context, peaks, { width, middle, binAt, xOf, track }) {
  context.fillStyle = colour(track in { inbound: 1, outbound: 1 } ? track : "mixed");
  const step = Math.max(1, xOf(1) - xOf(0)); // a bar is as wide as its 20 ms, or a pixel
  const bar = step > 4 ? step - 1.5 : Math.max(step, 1);
  const room = middle - 3;
  if (step > 1) {
    for (let bin = Math.max(0, binAt(-step)); bin <= Math.min(peaks.last, binAt(width)); bin++) {
      drawBar(context, xOf(bin), bar, peaks.data[bin], middle, room);
    }
    return;
  }
  let before = binAt(0);
  for (let x = 0; x < width; x++) {
    const next = Math.max(before + 1, binAt(x + 1));
    let peak = 0;
    for (let bin = Math.max(0, before); bin < Math.min(next, peaks.last + 1); bin++) {
      peak = Math.max(peak, peaks.data[bin]);
    }
    drawBar(context, x, 1, peak, middle, room);
    before = binAt(x + 1);
  }
}

function drawBar(context, x, wide, value, middle, room) {
  if (value === 0) return;
  const tall = Math.max(0.75, room * ((value - 1) / 254) ** 1.3);
  context.fillRect(x, middle - tall, wide, 2 * tall);
}

/** What nobody watched: hatched in grey, as far as anything is known behind it. */
function drawUnknown(context, peaks, xOf, height) {
  let before = 0;
  for (const [first, last] of peaks.ranges) {
    const from = Math.max(xOf(before), 0);
    const to = xOf(first);
    if (first > before + 1 && to > from) {
      hatch(context, from, to, height, "hatch");
      if (to - from > 110) label(context, "not watched", (from + to) / 2, height / 2);
    }
    before = last + 1;
  }
}

function label(context, text, x, y) {
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const wide = context.measureText(text).width + 16;
  context.fillStyle = colour("panel");
  context.fillRect(x - wide / 2, y - 11, wide, 22);
  context.fillStyle = colour("faint");
  context.fillText(text, x, y);
}

function drawGap(context, from, to, width, height) {
  if (to < 0 || from > width) return;
  if (to - from > 4) {
    context.fillStyle = colour("bad-soft");
    context.fillRect(from, 0, to - from, height);
    hatch(context, from, to, height, "bad");
  }
  context.fillStyle = colour("bad");
  context.globalAlpha = to - from > 4 ? 1 : 0.5; // of many short ones the waveform is to be seen still
  context.fillRect(from, 0, 1, height);
  context.globalAlpha = 1;
  context.beginPath();
  context.moveTo(from - 4, 0);
  context.lineTo(from + 5, 0);
  context.lineTo(from + 0.5, 6);
  context.fill();
}

function hatch(context, from, to, height, name) {
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, height);
  context.clip();
  context.strokeStyle = colour(name);
  context.lineWidth = 1;
  context.beginPath();
  for (let x = Math.floor((from - height) / 7) * 7; x < to; x += 7) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.stroke();
  context.restore();
}
