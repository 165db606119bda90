// Listening in: the call's audio from the feed to the loudspeakers, inbound left, outbound right.
//
// The feed brings chunks (watched.py: track, samples, rate, seconds, 16-bit samples); the worklet
// keeps a queue for each ear, waits until a little has gathered, and resamples to the sound card's
// rate. Analysers behind it drive the two meters.

import { look, on } from "./feed.js";
import { h, icon, mark, say } from "./dom.js";

const HEAD = 16; // bytes before the samples of a chunk
const EARS = [["Inbound", "left", "inbound"], ["Outbound", "right", "outbound"]];

/** What sounds at the moment; null while nobody listens. */
export const sound = { context: null, analysers: [] };

/** The button and the bar of one call. */
export function makeListening(call) {
  let end = null;
  const muted = [false, false];
  const meters = EARS.map(([, , track]) => h("i", { "data-track": track }));
  const mutes = EARS.map(([name, side], ear) => h("button", {
    type: "button", "aria-pressed": "false",
    on: { click: () => { muted[ear] = !muted[ear]; mark(mutes[ear], "aria-pressed", String(muted[ear])); end?.mute(muted); } },
  }, `Mute ${name.toLowerCase()} (${side})`));
  const status = h("p", { role: "status", class: "soft" });
  const element = h("section", { class: "panel listening", hidden: true, "aria-label": "Listening" },
    icon("listen"), status,
    EARS.map(([name], ear) => h("div", { class: "ear" }, h("div", { class: "meter", "aria-label": `${name} in your ear` }, meters[ear]), mutes[ear])));
  const label = h("span", {}, "Listen");
  const button = h("button", { type: "button", class: "primary", "aria-pressed": "false", hidden: true, on: { click: toggle } }, icon("listen"), label);

  async function toggle() {
    if (end) return stop();
    button.disabled = true;
    try {
      end = await start(call, muted, meters, status);
    } catch (error) {
      say(status, `This browser cannot play it: ${error.message}`);
    }
    button.disabled = false;
    show();
  }
  function stop() {
    end?.stop();
    end = null;
    show();
  }
  function show() {
    element.hidden = !end;
    mark(button, "aria-pressed", String(Boolean(end)));
    say(label, end ? "Stop listening" : "Listen");
  }
  return {
    element, button,
    update(live) {
      button.hidden = !live;
      if (!live && end) stop();
    },
    close: stop,
  };
}

async function start(call, muted, meters, status) {
  const context = new AudioContext({ latencyHint: "interactive" });
  await context.audioWorklet.addModule("/console/static/listen-worklet.js");
  await context.resume();
  const player = new AudioWorkletNode(context, "listen", { numberOfInputs: 0, outputChannelCount: [2] });
  const splitter = context.createChannelSplitter(2);
  const analysers = EARS.map((_, ear) => {
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    splitter.connect(analyser, ear);
    return analyser;
  });
  player.connect(splitter);
  player.connect(context.destination);
  player.port.onmessage = ({ data }) => say(status, `Listening, ${Math.round(data.behind * 1000)} ms behind`);
  player.port.postMessage({ muted: [...muted] });
  say(status, "Listening, waiting for audio");
  Object.assign(sound, { context, analysers });
  const ends = [on("audio", (data) => deliver(data, player.port))];
  look({ call, listen: true });
  const timer = setInterval(() => showLevels(analysers, meters), 50);
  return {
    mute: (now) => player.port.postMessage({ muted: [...now] }),
    stop() {
      ends.forEach((one) => one());
      clearInterval(timer);
      look({ listen: false });
      context.close();
      Object.assign(sound, { context: null, analysers: [] });
    },
  };
}

/** Take the chunks of a message apart and hand them to the worklet. */
function deliver(data, port) {
  const view = new DataView(data);
  for (let at = 0; at + HEAD <= data.byteLength;) {
    const track = view.getUint8(at);
    const samples = view.getUint16(at + 2, true);
    const rate = view.getUint32(at + 4, true);
    const chunk = new Float32Array(samples);
    for (let n = 0; n < samples; n++) chunk[n] = view.getInt16(at + HEAD + 2 * n, true) / 32768;
    for (const ear of track === 2 ? [0, 1] : [track]) port.postMessage({ ear, rate, chunk });
    at += HEAD + 2 * samples;
  }
}

function showLevels(analysers, meters) {
  analysers.forEach((analyser, ear) => {
    const samples = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(samples);
    const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
    const level = peak > 0 ? Math.max(0, (20 * Math.log10(peak) + 60) / 60) : 0;
    meters[ear].style.transform = `scaleX(${level.toFixed(3)})`;
  });
}
