// The six steps of the debug order: small in the list, large and with words in one call.

import { fill, h, icon, mark } from "./dom.js";

export const STEPS = [
  ["answer_valid", "Answer", "Answer valid"],
  ["url_is_wss", "wss", "URL is wss"],
  ["connection_accepted", "Accepted", "Connection accepted"],
  ["media_arrived", "Media", "Media arrived"],
  ["stream_closed", "Closed", "Stream closed"],
  ["call_result", "Result", "Final result"],
];
/** How a call stands, in a word. */
export const STATE_WORDS = { live: "Live", waiting: "Starting", gone: "Node gone", pass: "Good", fail: "Failed", open: "Unclear" };

/** How a call stands: `gone` where the process that had its stream has died with it. */
export function stateOf(card) {
  if (card.live) return "live";
  if (card.gone) return "gone";
  return card.over ? card.verdict : "waiting";
}

const WORDS = { ok: "good", fail: "failed", waiting: "waiting", unknown: "cannot be told" };

/** The steps as a row of marks; `update(steps)` shows how they stand. */
export function stepMarks() {
  const marks = STEPS.map(([name, , title]) => {
    const words = h("span", { class: "sr" });
    const item = h("li", { class: "step-mark", "data-step": name }, words);
    return { name, title, item, words, state: null };
  });
  const element = h("ol", { class: "step-marks", "aria-label": "Steps" }, marks.map((one) => one.item));
  const update = (steps) => {
    const states = new Map(steps.map((step) => [step.name, step]));
    for (const one of marks) {
      const step = states.get(one.name);
      const state = step?.state ?? "waiting";
      mark(one.item, "title", `${one.title}: ${WORDS[state]}${step?.said ? ` – ${step.said}` : ""}`);
      if (state === one.state) continue;
      one.state = state;
      mark(one.item, "data-state", state);
      one.words.textContent = `${one.title}: ${WORDS[state]}`;
      fill(one.item, icon(state), one.words);
    }
  };
  return { element, update };
}

/** The steps one below the other, with what was found and what to do. */
export function stepList() {
  const element = h("ol", { class: "steps", "aria-label": "The call in the documented debug order" });
  let shown = "";
  const update = (steps) => {
    const now = JSON.stringify(steps);
    if (now === shown) return;
    shown = now;
    const open = steps.filter((step) => step.name !== "receiver_well" || step.state === "fail");
    fill(element, open.map(drawStep));
  };
  return { element, update };
}

function drawStep(step) {
  const title = STEPS.find(([name]) => name === step.name)?.[2] ?? "This receiver was well";
  return h("li", { "data-step": step.name, "data-state": step.state },
    h("span", { class: "step-icon" }, icon(step.state)),
    h("div", {},
      h("p", { class: "step-title" }, title, h("span", { class: "sr" }, `: ${WORDS[step.state]}`)),
      h("p", { class: "step-said" }, step.state === "waiting" ? "not yet" : step.said),
      step.findings.map(drawFinding)));
}

function drawFinding(finding) {
  return h("div", { class: "finding", "data-remark": finding.remark ? "" : null },
    h("p", {},
      h("span", { class: "code", "data-remark": finding.remark ? "" : null }, finding.code), " ",
      h("b", {}, finding.title), finding.times > 1 ? ` (${finding.times} times)` : null),
    finding.said ? h("p", { class: "mono" }, finding.said) : null,
    h("p", {}, finding.cause),
    h("p", { class: "mend" }, h("b", {}, "What to do: "), finding.mend));
}
