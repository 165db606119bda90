// A test call from the page: the simulator places it at this receiver.

import { nextNumber, on, send, server } from "./feed.js";
import { fill, h, icon, say } from "./dom.js";
import { openMicrophone } from "./microphone.js";

export const title = "Test call";
export const wants = () => ({});

let last = null; // the latest call ordered here: what is told of it stays when views change
const form = { speak: 10, track: "both", dialect: "twilio", faults: new Map(), microphone: false };

on("test", (news) => last?.take(news));

export function open(root) {
  const side = h("div", { class: "stack" });
  const place = h("div", {});
  const draw = () => (server.hello?.test ? drawForm(place, side) : drawNone(place));
  root.append(h("div", { class: "title-row" }, h("h1", {}, "Place a test call")), place);
  if (server.hello) draw();
  const end = on("hello", () => place.children.length || draw());
  if (last) showOrder(side);
  else fill(side, drawExplanation());
  return end;
}

function drawExplanation() {
  return h("section", { class: "panel", "aria-label": "What happens" },
    h("header", {}, h("h2", {}, "What happens")),
    h("ol", { class: "body happens" },
      h("li", {}, "The simulator, in MiniVoice's place, asks this receiver's ", h("code", {}, "answer_url"), " and checks the answer."),
      h("li", {}, "It opens the stream that the answer names and speaks into it in real time."),
      h("li", {}, "It delivers the signed webhooks, hangs up, and says in the debug order what worked."),
      h("li", {}, "You watch the call from the receiver's side, hear it, and see what each fault does.")));
}

function drawNone(place) {
  fill(place, h("div", { class: "panel empty" }, icon("phone"), h("h2", {}, "This console places no test calls"),
    h("p", {}, "Test calls are allowed by the setting ", h("code", {}, "console_test_calls"), ", and always in ", h("code", {}, "minivoice-ref demo --open"), ".")));
}

function drawForm(place, side) {
  const { dialects, faults } = server.hello.test;
  const speak = h("input", { id: "speak", type: "number", min: "1", max: "600", step: "1", value: form.speak, on: { change: () => { form.speak = Number(speak.value); } } });
  const dialect = h("select", { id: "dialect", on: { change: () => { form.dialect = dialect.value; } } },
    dialects.map((name) => h("option", { value: name, selected: name === form.dialect }, name)));
  const tracks = ["both", "inbound", "outbound"].map((track) => h("label", { class: "check" },
    h("input", { type: "radio", name: "track", value: track, checked: track === form.track, on: { change: () => { form.track = track; } } }), track));
  const microphone = h("input", { type: "checkbox", id: "microphone", checked: form.microphone, on: { change: () => { form.microphone = microphone.checked; } } });
  const place_ = h("button", { type: "submit", class: "primary" }, icon("phone"), "Place the call");
  const problem = h("p", { class: "verdict", "data-state": "fail", role: "alert", hidden: true });
  const chosen = h("span", { class: "chip" });
  const tally = () => say(chosen, `${form.faults.size} chosen`);
  tally();
  const element = h("form", { class: "panel", on: { submit: order } },
    h("div", { class: "body form" },
      h("div", { class: "field" }, h("label", { for: "speak" }, "Seconds of speech"), speak),
      h("div", { class: "field" }, h("label", { for: "dialect" }, "Dialect"), dialect),
      h("fieldset", { class: "field" }, h("legend", {}, "Track that the answer asks for"), h("div", { class: "choices" }, tracks)),
      h("div", { class: "field" }, h("label", { class: "check", for: "microphone" }, microphone, "Speak yourself"),
        h("p", { class: "hint" }, "Your microphone is the caller's voice; the agent's is the packaged one. Use headphones.")),
      h("details", { class: "field wide", open: form.faults.size > 0 },
        h("summary", {}, h("b", {}, "Let something go wrong"), " ", chosen),
        h("ul", { class: "faults" }, faults.map((fault) => drawFault(fault, tally)))),
      h("div", { class: "field wide" }, place_, problem)));
  fill(place, h("div", { class: "two" }, element, side));

  async function order(event) {
    event.preventDefault();
    problem.hidden = true;
    place_.disabled = true;
    try {
      await placeCall(side);
    } catch (error) {
      problem.hidden = false;
      say(problem, error.message);
    }
    place_.disabled = false;
  }
}

function drawFault(fault, tally) {
  const value = fault.unit ? h("input", { type: "number", min: "0", step: "any", value: form.faults.get(fault.name) ?? fault.default, "aria-label": `${fault.name}: ${fault.unit}`,
    on: { input: () => form.faults.has(fault.name) && form.faults.set(fault.name, value.value) } }) : null;
  const tick = h("input", { type: "checkbox", checked: form.faults.has(fault.name), "data-fault": fault.name,
    on: { change: () => { if (tick.checked) form.faults.set(fault.name, value?.value ?? ""); else form.faults.delete(fault.name); tally(); } } });
  return h("li", {}, h("label", { class: "check" }, tick, h("span", {}, h("b", { class: "mono" }, fault.name), h("span", { class: "hint" }, inWords(fault)))),
    value, value ? h("span", { class: "hint unit" }, fault.unit) : null);
}

/** What a fault does. The command line's placeholder (SECONDS) is the figure beside it. */
function inWords({ summary, unit }) {
  const told = unit ? summary.replace(unit.toUpperCase(), `so many ${unit}`).replace(` ${unit} ${unit}`, ` ${unit}`) : summary;
  return told[0].toUpperCase() + told.slice(1);
}

async function placeCall(side) {
  const number = nextNumber();
  last?.microphone?.close();
  const microphone = form.microphone ? await openMicrophone() : null;
  last = {
    number, microphone, call: null, moments: [], report: null, problem: null, draw: null,
    take(news) {
      if (news.number !== number) return;
      if (news.call_id) this.call = news.call_id;
      if (news.moment) this.moments.push(news.moment);
      if (news.problem) this.problem = news.problem;
      if (news.report) this.report = news.report;
      if (news.report || news.problem) this.microphone?.close();
      this.draw?.(news);
    },
  };
  const faults = [...form.faults].map(([name, value]) => (value === "" ? name : `${name}=${value}`));
  const asked = { speak: form.speak, track: form.track, dialect: form.dialect, faults };
  showOrder(side);
  if (!send({ do: "test", number, order: asked, microphone: Boolean(microphone) })) {
    microphone?.close();
    throw new Error("Not connected: try again in a moment.");
  }
}

function showOrder(side) {
  const order = last;
  const head = h("div", { class: "spread" });
  const moments = h("ol", { class: "moments mono", "aria-label": "What the platform's side sees" });
  const outcome = h("div", { role: "status" });
  fill(side, h("section", { class: "panel", "aria-label": "The call" },
    h("header", {}, h("h2", {}, "What MiniVoice's side sees"), head), h("div", { class: "body stack" }, outcome, moments)));
  const add = (moment) => {
    moments.append(h("li", {}, h("span", { class: "soft" }, moment.at.toFixed(3)), h("b", {}, moment.who), h("span", {}, moment.text)));
    moments.scrollTop = moments.scrollHeight;
  };
  order.moments.forEach(add);
  order.draw = (news) => {
    if (news.moment) add(news.moment);
    drawState();
  };
  function drawState() {
    fill(head,
      order.call ? h("a", { class: "button", href: `#/call/${encodeURIComponent(order.call)}` }, "Watch the call") : null,
      order.call && !order.report ? h("button", { type: "button", class: "danger", on: { click: () => send({ do: "hang_up" }) } }, "Hang up") : null);
    fill(outcome, drawOutcome(order));
  }
  drawState();
}

function drawOutcome(order) {
  if (order.problem) return h("p", { class: "verdict", "data-state": "fail" }, icon("fail"), order.problem);
  if (!order.report) return h("p", { class: "soft" }, order.microphone ? "You are the caller: speak." : "The call goes on …");
  const { passed, steps } = order.report;
  return [
    h("p", { class: "verdict", "data-state": passed ? "ok" : "fail" }, icon(passed ? "ok" : "fail"), passed ? "Passed" : "Failed"),
    h("ol", { class: "outcome" }, steps.map((step) => h("li", { "data-state": step.ok === null ? "unknown" : step.ok ? "ok" : "fail" },
      icon(step.ok === null ? "unknown" : step.ok ? "ok" : "fail"), h("span", {}, h("b", { class: "mono" }, step.name), " ", step.detail)))),
  ];
}
