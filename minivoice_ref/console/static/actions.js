// Paste an action list, see its faults at their places: the receiver's own validation.

import { nextNumber, on, send } from "./feed.js";
import { fill, h, icon } from "./dom.js";
import { placeOf } from "./places.js";

export const title = "Actions";
export const wants = () => ({});

const GOOD = { actions: [{ type: "start_stream", stream_url: "wss://media.example.com/call", track: "both" }] };
const BAD = { actions: [{ type: "start_stream", stream_url: "https://media.example.com/call", track: "left" }] };
let text = JSON.stringify(GOOD, null, 2);

export function open(root) {
  let asked = 0;
  let timer = null;
  const result = h("div", { class: "body", role: "status", "aria-live": "polite" });
  const area = h("textarea", {
    id: "actions-text", rows: "18", spellcheck: "false", "aria-describedby": "actions-hint",
    on: { input: () => { text = area.value; clearTimeout(timer); timer = setTimeout(check, 250); } },
  });
  area.value = text;
  const use = (example) => () => { text = area.value = JSON.stringify(example, null, 2); check(); };
  root.append(
    h("div", { class: "title-row" }, h("h1", {}, "Check an action list")),
    h("div", { class: "two" },
      h("section", { class: "panel" },
        h("header", {}, h("h2", {}, h("label", { for: "actions-text" }, "What your answer_url returns")),
          h("span", { class: "spread" },
            h("button", { type: "button", on: { click: use(GOOD) } }, "A good one"),
            h("button", { type: "button", on: { click: use(BAD) } }, "A bad one"))),
        h("div", { class: "body" }, area,
          h("p", { class: "hint", id: "actions-hint" }, "JSON, in the typed or the keyed form. It is checked as you type, by the table that every answer of this receiver goes through."))),
      h("section", { class: "panel", "aria-label": "Result" }, h("header", {}, h("h2", {}, "Result")), result)));

  function check() {
    asked = nextNumber();
    if (!send({ do: "check", number: asked, text })) fill(result, h("p", {}, "Not connected: it will be checked again."));
  }
  const ends = [
    on("hello", check),
    on("checked", (checked) => {
      if (checked.number === asked) fill(result, drawResult(checked, area));
    }),
  ];
  check();
  return () => {
    clearTimeout(timer);
    ends.forEach((end) => end());
  };
}

function drawResult({ valid, actions, problems, warnings }, area) {
  const faults = problems.length;
  return [
    h("p", { class: "verdict", "data-state": valid ? "ok" : "fail" }, icon(valid ? "ok" : "fail"),
      valid ? "Valid: the platform would run the whole list" : `Not valid: ${faults} problem${faults > 1 ? "s" : ""}`),
    problems.length ? h("ol", { class: "problems" }, problems.map((one) => drawProblem(one, "fail", area))) : null,
    warnings.length ? h("h3", {}, "Worth a look") : null,
    warnings.length ? h("ol", { class: "problems" }, warnings.map((one) => drawProblem(one, "warning", area))) : null,
    actions.length ? h("h3", {}, "Read as") : null,
    h("ol", { class: "read-as" }, actions.map((type, at) =>
      h("li", {}, h("span", { class: "mono soft" }, `actions[${at}]`), " ", type ?? "not usable"))),
  ];
}

function drawProblem(problem, state, area) {
  const line = area.value.slice(0, placeOf(area.value, problem.path)[0]).split("\n").length;
  const show = () => {
    area.setSelectionRange(...placeOf(area.value, problem.path)); // it may have been written on since
    area.focus(); // scrolls there
  };
  return h("li", { "data-state": state },
    h("p", {}, h("button", { type: "button", class: "place", title: "Select it in the text", on: { click: show } }, problem.path || "the document"),
      h("span", { class: "hint" }, ` line ${line}`)),
    h("p", {}, problem.message),
    problem.mend ? h("p", { class: "mend" }, h("b", {}, "What to do: "), problem.mend) : null);
}
