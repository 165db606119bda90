// The three logs, side by side, following, filtered by call.

import { on } from "./feed.js";
import { fill, h, say } from "./dom.js";
import { clock, details } from "./format.js";

export const title = "Logs";
export const wants = () => ({ logs: true });

const LOGS = [
  ["answers", "Answers", "Was the action valid?"],
  ["streams", "Streams", "Did media arrive?"],
  ["webhooks", "Webhooks", "What was the final result?"],
];
const MOST = 500;

/** *id* is the call whose lines are shown first, by any of its ids. */
export function open(root, id) {
  let words = id ?? "";
  let onlyTrouble = false;
  const panes = LOGS.map(([log, label, question]) => makePane(log, label, question));
  const search = h("input", {
    type: "search", placeholder: "A call's id, a code, any word …  ( / )", "aria-label": "Filter by call or word",
    on: { input: () => { words = search.value; refilter(); } },
  });
  search.value = words;
  const trouble = h("input", { type: "checkbox", on: { change: () => { onlyTrouble = trouble.checked; refilter(); } } });
  root.append(
    h("div", { class: "title-row" }, h("h1", {}, "Three logs"),
      h("div", { class: "spread" }, h("label", { class: "check" }, trouble, "Only trouble"), search)),
    h("div", { class: "panes" }, panes.map((pane) => pane.element)));

  function shows(line) {
    if (onlyTrouble && line.level === "info") return false;
    return !words || JSON.stringify(line).toLowerCase().includes(words.trim().toLowerCase());
  }
  function refilter() {
    panes.forEach((pane) => pane.draw(shows));
  }
  const end = on("logs", ({ all, lines }) => {
    for (const pane of panes) {
      const own = lines.filter((line) => line.log === pane.log);
      if (all) {
        pane.lines = own;
        pane.draw(shows);
      } else {
        pane.add(own, shows);
      }
    }
  });
  refilter();
  return end;
}

function makePane(log, label, question) {
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": `${label}: the latest lines last` });
  const follow = h("input", { type: "checkbox", checked: true });
  const counts = h("span", { class: "hint" });
  const element = h("section", { class: "panel pane", "data-log": log, "aria-label": label },
    h("header", {}, h("h2", {}, label), h("span", { class: "hint" }, question),
      h("span", { class: "spread" }, counts, h("label", { class: "check" }, follow, "Follow"))),
    list);
  const pane = { element, log, lines: [] };
  const toEnd = () => {
    if (follow.checked) list.scrollTop = list.scrollHeight;
  };
  const tally = () => say(counts, `${list.children.length} of ${pane.lines.length}`);
  list.addEventListener("scroll", () => {
    follow.checked = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
  });
  follow.addEventListener("change", toEnd);
  pane.draw = (shows) => {
    fill(list, pane.lines.filter(shows).map(drawLine));
    tally();
    toEnd();
  };
  pane.add = (lines, shows) => {
    if (!lines.length) return;
    const wasFollowing = follow.checked;
    pane.lines = [...pane.lines, ...lines].slice(-MOST);
    list.append(...lines.filter(shows).map(drawLine));
    while (list.children.length > MOST) list.firstChild.remove();
    follow.checked = wasFollowing;
    tally();
    toEnd();
  };
  return pane;
}

/** One line of a log. */
export function drawLine(line) {
  return h("li", { "data-level": line.level },
    h("p", { class: "log-head" },
      h("time", { datetime: line.time }, clock(line.time)), " ",
      h("b", {}, line.what), " ",
      line.code ? h("span", { class: "code", "data-remark": line.level === "warning" ? "" : null }, line.code) : null,
      line.call_id ? h("a", { class: "mono", href: `#/call/${encodeURIComponent(line.call_id)}` }, line.call_id) : null),
    h("p", { class: "mono log-said" }, details(line)));
}
