// One time axis for all that happened: three lanes of events above the tracks of the streams.
//
// An event stands where our clock saw it. A webhook stands there twice: hollow where the platform
// says that it happened, solid where it arrived, with a line between. So whether the times agree is
// seen: the line is short, and points to the right.

import { fill, h, mark, say } from "./dom.js";
import { details, offset, seconds } from "./format.js";

const LANES = [["answers", "Answer"], ["streams", "Stream"], ["webhooks", "Webhooks"]];
const HIDDEN = new Set(["progress", "message", "account", "settings", "recording", "capture", "handled", "gap"]); // gaps are marked on the tracks
const NEAR = 17; // pixels within which events become one mark
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

/** Seconds since 1970 to pixels and back. */
export class Axis {
  constructor() {
    this.from = 0;
    this.to = 1;
    this.width = 1;
  }

  x(time) {
    return ((time - this.from) / (this.to - this.from)) * this.width;
  }

  time(x) {
    return this.from + (x / this.width) * (this.to - this.from);
  }
}

/** The ruler and the lanes. `draw(axis, zero)` places everything; `take(lines)` adds events.
 *  `showAll()` is asked for where events lie before what is shown. */
export function makeLanes(showAll) {
  const ruler = h("div", { class: "ruler", "aria-hidden": "true" });
  const lanes = new Map();
  const tip = h("div", { class: "tip", id: "tip", role: "tooltip", hidden: true });
  const element = h("div", { class: "lanes" },
    h("div", { class: "lane" }, h("span", { class: "lane-name" }), ruler),
    LANES.map(([log, label]) => {
      const place = h("ul", { class: "lane-place", "aria-label": `${label}: events` });
      const earlier = h("li", { class: "earlier", hidden: true }, h("button", { type: "button", on: { click: showAll } }));
      place.append(earlier);
      lanes.set(log, { place, label, earlier, events: [], marks: [] });
      return h("div", { class: "lane", "data-log": log }, h("span", { class: "lane-name" }, label), place);
    }),
    tip);

  function take(lines) {
    for (const line of lines) {
      if (HIDDEN.has(line.what)) continue;
      const made = line.log === "webhooks" && line.created_at ? seconds(line.created_at) : null;
      lanes.get(line.log)?.events.push({ at: seconds(line.time), made, line });
    }
  }

  function draw(axis, zero) {
    drawRuler(ruler, axis, zero);
    for (const lane of lanes.values()) drawLane(lane, axis, zero, tip);
  }

  /** The earliest and the latest of all events. */
  function span() {
    const times = [...lanes.values()].flatMap(({ events }) =>
      events.flatMap(({ at, made }) => (made !== null && Math.abs(made - at) < 60 ? [at, made] : [at])));
    return times.length ? [Math.min(...times), Math.max(...times)] : null;
  }

  function clear() {
    for (const lane of lanes.values()) {
      lane.events = [];
    }
  }
  return { element, take, draw, span, clear };
}

function drawRuler(ruler, axis, zero) {
  const span = axis.to - axis.from;
  const most = Math.max(2, axis.width / 80);
  const step = STEPS.find((one) => span / one <= most) ?? 7200;
  const ticks = [];
  for (let at = Math.ceil((axis.from - zero) / step) * step; at <= axis.to - zero; at += step) {
    const x = axis.x(zero + at);
    if (x < 0 || x > axis.width - 30) continue;
    ticks.push([x, shortTime(at, step)]);
  }
  while (ruler.children.length > ticks.length) ruler.lastChild.remove();
  while (ruler.children.length < ticks.length) ruler.append(h("span", {}));
  ticks.forEach(([x, text], at) => {
    const tick = ruler.children[at];
    tick.style.transform = `translateX(${x.toFixed(1)}px)`;
    say(tick, text);
  });
}

function shortTime(at, step) {
  const rounded = Math.round(at * 10) / 10;
  if (Math.abs(rounded) < 60) return `${rounded.toFixed(step < 1 ? 1 : 0)} s`;
  const minutes = Math.floor(rounded / 60);
  return `${minutes}:${String(Math.round(rounded - minutes * 60)).padStart(2, "0")}`;
}

/** Put each group of near events at its place; elements are used again, they move all the time. */
function drawLane(lane, axis, zero, tip) {
  const groups = [];
  for (const event of lane.events) {
    const x = axis.x(event.at);
    const group = groups.at(-1);
    if (group && x - group.x < NEAR) group.events.push(event);
    else groups.push({ x, events: [event] });
  }
  showEarlier(lane, axis);
  while (lane.marks.length > groups.length) lane.marks.pop().item.remove();
  while (lane.marks.length < groups.length) {
    const made = makeMark(tip);
    lane.marks.push(made);
    lane.place.append(made.item);
  }
  groups.forEach((group, at) => {
    const next = groups[at + 1];
    const made = next?.events.length === 1 && next.events[0].made !== null ? axis.x(next.events[0].made) : Infinity;
    const room = Math.min(next?.x ?? axis.width, made) - group.x - NEAR;
    const behind = group.x - (groups[at - 1] ? groups[at - 1].x + 240 : 0) - NEAR;
    lane.marks[at].show(group, [behind, room], axis, zero);
  });
}

/** Say how many events the moving window has left behind. */
function showEarlier({ earlier, events, label }, axis) {
  const left = events.filter(({ at }) => axis.x(at) < -4).length;
  earlier.hidden = left === 0;
  say(earlier.firstChild, `‹ ${left} earlier`);
  mark(earlier.firstChild, "aria-label", `${label}: ${left} earlier, show the whole call`);
}

function makeMark(tip) {
  const dot = h("button", { type: "button", class: "event", "aria-describedby": tip.id });
  const label = h("span", { class: "event-label", "aria-hidden": "true" });
  const made = h("i", { class: "event-made", hidden: true });
  const item = h("li", {}, made, dot, label);
  let shown = { events: [], zero: 0 };
  const showTip = () => {
    fill(tip, shown.events.map(({ at, made: when, line }) => h("p", {},
      h("b", {}, line.event ?? line.what), " ", offset(at - shown.zero),
      when !== null ? `, made ${offset(when - shown.zero)}` : null,
      line.code ? [" ", h("span", { class: "code" }, line.code)] : null,
      h("span", { class: "mono" }, details(line).slice(0, 240)))));
    tip.hidden = false;
    const place = tip.offsetParent.getBoundingClientRect();
    const here = dot.getBoundingClientRect();
    const left = Math.min(here.left - place.left, place.width - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${here.bottom - place.top + 6}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  dot.addEventListener("pointerenter", showTip);
  dot.addEventListener("focus", showTip);
  dot.addEventListener("pointerleave", hideTip);
  dot.addEventListener("blur", hideTip);
  dot.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());

  function show({ x, events }, [behind, room], axis, zero) {
    shown = { events, zero };
    item.hidden = x < -4 || x > axis.width + 4;
    if (item.hidden) return;
    item.style.transform = `translateX(${x.toFixed(1)}px)`;
    const names = [...new Set(events.map(({ line }) => line.event ?? line.what))].join(", ");
    const bad = events.some(({ line }) => line.level === "error" || line.level === "warning");
    mark(dot, "data-bad", bad ? "" : null);
    say(dot, events.length > 1 ? String(events.length) : "");
    mark(dot, "aria-label", `${names} at ${offset(events[0].at - zero)}`);
    const text = names.length > 34 ? `${names.slice(0, 33)}…` : names;
    say(label, text);
    const wide = text.length * 6.6 + 6;
    const flips = room < wide && behind > wide;
    label.hidden = room < wide && !flips;
    mark(label, "data-flips", flips ? "" : null);
    const only = events.length === 1 ? events[0].made : null;
    made.hidden = only === null;
    if (only !== null) {
      const back = axis.x(only) - x;
      made.style.left = `${Math.min(back, 0).toFixed(1)}px`;
      made.style.width = `${Math.max(2, Math.abs(back)).toFixed(1)}px`;
      mark(made, "data-ahead", back > 0 ? "" : null);
    }
  }
  return { item, show };
}
