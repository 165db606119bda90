// The list of calls, the live ones first.

import { now, on, server } from "./feed.js";
import { fill, h, icon, mark, say } from "./dom.js";
import { day, duration, meter, seconds } from "./format.js";
import { STATE_WORDS, STEPS, stateOf, stepMarks } from "./steps.js";

export const title = "Calls";
export const wants = () => ({ calls: true });

const FILTERS = [["all", "All"], ["live", "Live"], ["fail", "Failed"]];
let filter = "all";
let words = "";

export function open(root) {
  const rows = new Map();
  const list = h("ol", { class: "calls", "aria-label": "Calls" });
  const head = h("div", { class: "calls-head", "aria-hidden": "true" },
    h("span", {}, "Call"),
    h("span", { class: "calls-head-steps" }, STEPS.map(([, short]) => h("span", {}, short))),
    h("span", {}, "Dialect"), h("span", {}, "Duration"), h("span", {}, "What is wrong"));
  const nothing = h("div", {});
  const counts = h("p", { class: "soft", role: "status" });
  const processes = h("p", { class: "soft processes", hidden: true });
  const search = h("input", {
    type: "search", placeholder: "Number, id, code …  ( / )", "aria-label": "Filter calls",
    on: { input: () => { words = search.value; arrange(); } },
  });
  search.value = words;
  const buttons = FILTERS.map(([name, label]) => h("button", {
    type: "button", "aria-pressed": String(filter === name),
    on: { click: () => { filter = name; buttons.forEach((one, at) => mark(one, "aria-pressed", String(FILTERS[at][0] === name))); arrange(); } },
  }, label));
  root.append(
    h("div", { class: "title-row" }, h("h1", {}, "Calls"), counts, processes,
      h("div", { class: "spread" }, h("div", { class: "segments", role: "group", "aria-label": "Show" }, buttons), search)),
    h("section", { class: "panel calls-panel", "aria-label": "Calls" }, head, list, nothing));

  function arrange() {
    const all = [...rows.values()].sort(byUrgency);
    const shown = all.filter((row) => matches(row.card));
    const order = shown.map((row) => row.element);
    if (order.length !== list.children.length || order.some((one, at) => list.children[at] !== one)) {
      const focused = document.activeElement;
      list.replaceChildren(...order);
      if (list.contains(focused)) focused.focus({ preventScroll: true });
    }
    const live = all.filter((row) => row.card.live).length;
    const failed = all.filter((row) => row.card.verdict === "fail").length;
    say(counts, all.length ? `${live} live, ${all.length} in all, ${failed} failed` : "");
    head.hidden = !shown.length;
    drawNothing(nothing, all.length, shown.length);
  }

  function take({ all, calls, gone }) {
    if (all) {
      const keys = new Set(calls.map((card) => card.key));
      for (const key of rows.keys()) if (!keys.has(key)) rows.delete(key);
    }
    gone.forEach((key) => rows.delete(key));
    for (const card of calls) {
      if (!rows.has(card.key)) rows.set(card.key, makeRow());
      rows.get(card.key).update(card);
    }
    arrange();
  }

  const ends = [
    on("calls", take),
    on("nodes", ({ nodes }) => drawProcesses(processes, nodes)),
    on("levels", ({ levels }) => {
      for (const [key, row] of rows) row.hear(levels[key]);
    }),
  ];
  const timer = setInterval(() => rows.forEach((row) => row.tick()), 500);
  return () => {
    ends.forEach((end) => end());
    clearInterval(timer);
  };
}

function byUrgency(one, other) {
  const rank = (row) => (row.card.live ? 0 : row.card.over ? 2 : 1);
  return rank(one) - rank(other) || (one.card.began < other.card.began ? 1 : -1);
}

function matches(card) {
  if (filter === "live" && card.over) return false;
  if (filter === "fail" && card.verdict !== "fail") return false;
  const text = [...card.nodes, card.name, card.from, card.to, card.direction, ...card.dialects, card.wrong?.code, card.wrong?.title];
  return text.join(" ").toLowerCase().includes(words.trim().toLowerCase());
}

/** Which process this is, and whose calls are shown beside its own. */
function drawProcesses(place, nodes) {
  const named = (how) => Object.keys(nodes).filter((name) => nodes[name] === how);
  const others = named("there");
  const few = others.length > 3 ? `${others.length} others` : others.join(", ");
  place.hidden = !others.length;
  mark(place, "title", others.join(", "));
  say(place, `at ${named("here")}, with ${few}`);
}

function drawNothing(place, all, shown) {
  if (shown) return fill(place);
  if (all) return fill(place, h("div", { class: "empty" }, h("h2", {}, "No call matches")));
  const test = server.hello?.test;
  fill(place, h("div", { class: "empty" }, icon("phone"), h("h2", {}, "No calls yet"),
    h("p", {}, "As soon as the platform asks this receiver for an answer, delivers a webhook or opens a stream, the call appears here."),
    test ? h("a", { class: "button", href: "#/test" }, icon("phone"), "Place a test call") : null));
}

function makeRow() {
  const steps = stepMarks();
  const link = h("a", { class: "call-name" });
  const parties = h("span", { class: "parties" });
  const arrow = h("span", { class: "arrow" });
  const id = h("span", { class: "call-id mono" });
  const status = h("span", { class: "chip" });
  const node = h("span", { class: "call-id mono", "data-node": "" });
  const bars = ["inbound", "outbound"].map((track) => h("i", { "data-track": track }));
  const levels = h("span", { class: "levels", "aria-hidden": "true" }, bars.map((bar) => h("span", {}, bar)));
  const dialects = h("span", {});
  const dialect = h("span", { class: "cell-dialect" }, dialects, node);
  const time = h("span", { class: "cell-time" });
  const began = h("span", { class: "soft" });
  const wrong = h("span", { class: "cell-wrong" });
  const lasts = h("span", {});
  time.append(lasts, began);
  link.append(arrow, parties, h("span", { class: "call-line" }, status, id, levels));
  const element = h("li", { class: "call-row" }, link, steps.element, dialect, time, wrong);
  const row = { element, card: null };

  row.update = (card) => {
    row.card = card;
    mark(link, "href", `#/call/${encodeURIComponent(card.name)}`);
    mark(element, "data-live", card.live ? "" : null);
    const direction = card.direction === "outbound" ? "outbound" : "inbound";
    fill(arrow, icon(card.direction ? direction : "phone"), h("span", { class: "sr" }, card.direction ?? ""));
    say(parties, card.from || card.to ? `${card.from ?? "?"} → ${card.to ?? "?"}` : "Numbers not known");
    say(id, card.name);
    say(node, card.nodes.length ? `at ${card.nodes.join(", ")}` : "");
    mark(node, "title", node.textContent);
    const state = stateOf(card);
    mark(status, "data-state", state);
    if (status.dataset.shown !== state) {
      status.dataset.shown = state;
      fill(status, card.live ? h("i", { class: "pulse" }) : null, STATE_WORDS[state]);
    }
    steps.update(card.steps);
    say(dialects, card.dialects.join(", ") || "–");
    say(began, day(card.began));
    mark(wrong, "data-bad", card.wrong ? "" : null);
    fill(wrong, drawWrong(card.wrong));
    if (!card.live) row.hear(null);
    row.tick();
  };
  row.hear = (peaks) => {
    levels.hidden = !row.card?.live;
    bars.forEach((bar) => {
      const peak = peaks?.[bar.dataset.track] ?? peaks?.mixed ?? 0;
      bar.style.transform = `scaleX(${meter(peak).toFixed(3)})`;
    });
  };
  row.tick = () => {
    if (!row.card) return;
    const end = row.card.over ? seconds(row.card.ended) : now();
    say(lasts, duration(end - seconds(row.card.began)));
  };
  return row;
}

function drawWrong(wrong) {
  if (!wrong) return [];
  return [
    h("span", {}, h("span", { class: "code" }, wrong.code), " ", h("b", {}, wrong.title)),
    h("span", { class: "mend" }, wrong.mend),
  ];
}
