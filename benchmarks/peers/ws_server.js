// Node.js with the package ws: the least that its user would do. See __init__.py and meter.py.
"use strict";
const { readFileSync } = require("node:fs");
const { WebSocketServer } = require("ws");

const STEPS_A_SECOND = 50000; // as in figures.py
const LONGEST = 10 * STEPS_A_SECOND;
const [port, cert, key] = process.argv.slice(2);
let last = 0;
let counts = new Uint32Array(LONGEST + 1);

function take(audio) {
  const sent = audio.readDoubleBE(0);
  if (sent === 0) return;
  const [seconds, nanoseconds] = process.hrtime(); // the monotonic clock, as Python's
  last = seconds + nanoseconds / 1e9;
  const step = Math.trunc((last - sent) * STEPS_A_SECOND);
  counts[Math.min(Math.max(step, 0), LONGEST)] += 1;
}

process.on("SIGUSR2", () => {
  const lag = [];
  counts.forEach((count, step) => count && lag.push([step, count]));
  counts = new Uint32Array(LONGEST + 1);
  console.log(JSON.stringify({ last, lag }));
});

const server = cert
  ? require("node:https").createServer({ cert: readFileSync(cert), key: readFileSync(key) })
  : require("node:http").createServer();

new WebSocketServer({ server }).on("connection", (websocket) => {
  websocket.on("message", (message) => {
    const document = JSON.parse(message);
    if (document.event === "media") take(Buffer.from(document.media.payload, "base64"));
  });
});

server.listen(Number(port), "127.0.0.1");
