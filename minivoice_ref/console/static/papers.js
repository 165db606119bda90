// What a peer sent, as it came: the handshake, the first messages, the messages nobody understood.
// All of it is hostile until shown otherwise, and only ever a text.

import { fill, h } from "./dom.js";

/** Show the papers of all streams in `place`. Panels that were open stay so. */
export function drawPapers(place, streams) {
  const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const several = streams.length > 1;
  fill(place, streams.map((stream) => {
    const of = (what) => stream.lines.filter((line) => line.what === what);
    const suffix = several ? ` · ${stream.id}` : "";
    return [
      paper(`Handshake as received${suffix}`, of("open").map(drawHandshake), open),
      paper(`First messages, verbatim${suffix}`, of("message").map(drawMessage), open),
      paper(`Unknown messages${suffix}`, of("unknown").map(drawUnknown), open),
    ];
  }));
}

function paper(name, parts, open) {
  if (!parts.length) return null;
  return h("details", { class: "panel paper", "data-name": name, open: open.has(name) },
    h("summary", {}, h("h2", {}, name), h("span", { class: "chip" }, parts.length)),
    h("div", { class: "body stack" }, parts));
}

function drawHandshake(line) {
  const headers = Array.isArray(line.headers) ? line.headers : [];
  const rows = [
    ["GET", line.path], ["from", line.peer],
    ["subprotocol", line.subprotocol ?? "none agreed on"],
    ...headers.map((header) => (Array.isArray(header) ? header : [header, ""])),
  ];
  return h("table", { class: "headers mono" }, h("tbody", {},
    rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, String(name)), h("td", {}, String(value ?? ""))))));
}

function drawMessage(line) {
  return h("figure", {}, h("figcaption", { class: "hint" }, `Message ${line.number}, ${line.kind}, ${line.size} bytes`), h("pre", {}, line.text));
}

function drawUnknown(line) {
  return h("figure", {}, h("figcaption", { class: "hint" }, line.why), h("pre", {}, line.text));
}
