// The recordings of a call that is over: fetched in ranges, drawn on the time axis, played, saved.

import { fill, h, icon, mark, say } from "./dom.js";
import { duration, size } from "./format.js";
import { BINS } from "./tracks.js";

const PIECE = 1024 * 1024;
const AT_ONCE = 64 * PIECE; // a recording longer than that (an hour) waits until it is asked for
const HEADER = 44;

/** The players of a call, one for each stream with a recording. */
export function makePlayers(axis) {
  const element = h("div", { class: "players" });
  const players = new Map();

  return {
    element,
    get playing() {
      return [...players.values()].some((player) => player.playing);
    },
    update(card, streams) {
      if (card.live) return streams.forEach(fillPast);
      if (!card.recordings) return;
      for (const stream of streams) {
        const made = stream.lines.some((line) => line.what === "account" && line.recording);
        if (made && !players.has(stream.id)) players.set(stream.id, makePlayer(stream, axis, element, streams.length > 1));
      }
    },
    draw() {
      players.forEach((player) => player.draw());
    },
    close() {
      players.forEach((player) => player.close());
    },
  };
}

/** Draw what came before anybody watched, where it is being recorded; tried once. */
async function fillPast(stream) {
  const begun = stream.lines.some((line) => line.what === "recording");
  if (stream.pastTried || !begun || !stream.tracks.size) return;
  const watchedFrom = Math.min(...[...stream.tracks.values()].map(({ peaks }) => peaks.ranges[0]?.[0] ?? Infinity));
  if (!Number.isFinite(watchedFrom)) return;
  // What was watched first must be on the disk by now, or a hole is left between.
  const longest = Math.max(...[...stream.tracks.values()].map(({ peaks }) => peaks.last));
  if (longest - watchedFrom < 2.5 * BINS) return;
  stream.pastTried = true;
  if (watchedFrom < BINS) return;
  try {
    const { peaks } = await fetchPieces(addressOf(stream), AT_ONCE, h("span"));
    for (const [name, channel] of [["inbound", 0], ["outbound", 1], ["mixed", 0]]) {
      stream.tracks.get(name)?.peaks.fillPast(peaks[channel]);
    }
  } catch {
    // it stays hatched
  }
}

function addressOf(stream) {
  return `/console/recordings/${encodeURIComponent(stream.id)}`;
}

function makePlayer(stream, axis, place, several) {
  const audio = new Audio();
  let url = null;
  let closed = false;
  const status = h("span", { class: "hint", role: "status" }, "Loading the recording …");
  const play = h("button", { type: "button", class: "icon-only", disabled: true, "aria-label": "Play the recording", on: { click: toggle } }, icon("play"));
  const seek = h("input", { type: "range", min: "0", max: "1", step: "0.01", value: "0", disabled: true, "aria-label": "Place in the recording",
    on: { input: () => { audio.currentTime = Number(seek.value); show(); } } });
  const time = h("span", { class: "mono player-time" }, "–");
  const save = h("a", { class: "button", hidden: true }, icon("download"), "Download");
  const load = h("button", { type: "button", hidden: true, on: { click: () => fetchAll() } }, "Load");
  const cursor = h("i", { class: "cursor", hidden: true });
  place.append(h("div", { class: "player" }, play, time, seek, several ? h("span", { class: "mono soft" }, stream.id) : null, load, save, status));
  stream.rows.append(cursor);
  stream.rows.addEventListener("click", jump);
  mark(stream.rows, "data-seekable", "");
  audio.addEventListener("ended", show);
  audio.addEventListener("loadedmetadata", () => { play.disabled = seek.disabled = false; });
  audio.addEventListener("durationchange", show);
  fetchAll(AT_ONCE);

  async function fetchAll(most = Infinity) {
    load.hidden = true;
    try {
      const pieces = await fetchPieces(addressOf(stream), most, status);
      if (closed) return;
      if (!pieces.blob) {
        say(status, `The recording has ${size(pieces.total)}`);
        load.hidden = false;
        return;
      }
      pieces.peaks.forEach((peaks, channel) => {
        const name = stream.tracks.has("mixed") ? "mixed" : ["inbound", "outbound"][channel];
        if (stream.tracks.has(name)) stream.tracks.get(name).peaks.replace(peaks);
      });
      url = URL.createObjectURL(pieces.blob);
      audio.src = url;
      save.href = url;
      save.download = `${stream.id}.wav`;
      save.hidden = false;
      say(status, `Inbound left, outbound right, ${size(pieces.blob.size)}`);
      stream.showSums();
      dispatchEvent(new Event("resize"));
    } catch (error) {
      const made = stream.lines.findLast((line) => line.what === "account");
      const elsewhere = error.status === 404 && made?.node;
      say(status, elsewhere
        ? `The recording is not on this machine: ${made.node} wrote it there, as ${made.recording}`
        : `The recording cannot be had: ${error.message}`);
    }
  }
  function toggle() {
    if (audio.paused) audio.play();
    else audio.pause();
    show();
  }
  function jump(event) {
    if (play.disabled || !event.target.closest(".wave")) return;
    const x = event.clientX - event.target.getBoundingClientRect().left;
    audio.currentTime = Math.max(0, Math.min(axis.time(x) - stream.zero, audio.duration));
    show();
  }
  function show() {
    const icons = audio.paused ? "play" : "pause";
    if (play.dataset.icon !== icons) {
      play.dataset.icon = icons;
      fill(play, icon(icons));
      mark(play, "aria-label", audio.paused ? "Play the recording" : "Pause the recording");
    }
    if (!Number.isFinite(audio.duration)) return;
    mark(seek, "max", audio.duration.toFixed(2));
    seek.value = String(audio.currentTime);
    mark(seek, "aria-valuetext", `${duration(audio.currentTime)} of ${duration(audio.duration)}`);
    say(time, `${duration(audio.currentTime)} / ${duration(audio.duration)}`);
    drawCursor();
  }
  function drawCursor() {
    const wave = stream.rows.querySelector(".wave");
    cursor.hidden = !wave || (audio.paused && audio.currentTime === 0);
    if (cursor.hidden) return;
    const left = wave.getBoundingClientRect().left - stream.rows.getBoundingClientRect().left;
    cursor.style.transform = `translateX(${(left + axis.x(stream.zero + audio.currentTime)).toFixed(1)}px)`;
  }
  return {
    get playing() {
      return !audio.paused;
    },
    draw: show,
    close() {
      closed = true;
      audio.pause();
      stream.rows.removeEventListener("click", jump);
      if (url) URL.revokeObjectURL(url);
    },
  };
}

/** Fetch a WAV piece by piece, and find its peaks on the way; only its size where it has too many. */
async function fetchPieces(address, most, status) {
  const pieces = [];
  let total = Infinity;
  for (let at = 0; at < total;) {
    const answer = await fetch(address, { headers: { Range: `bytes=${at}-${at + PIECE - 1}` } });
    if (answer.status !== 206) throw Object.assign(new Error(`status ${answer.status}`), { status: answer.status });
    total = Number(answer.headers.get("Content-Range").split("/")[1]);
    if (total > most) return { total, blob: null, peaks: [[], []] };
    const piece = await answer.arrayBuffer();
    pieces.push(piece);
    at += piece.byteLength;
    if (total > PIECE) say(status, `Loading the recording, ${Math.round((100 * at) / total)} %`);
  }
  const blob = new Blob(pieces, { type: "audio/wav" });
  return { total, blob, peaks: peaksOf(new DataView(await blob.arrayBuffer())) };
}

/** The peaks of both channels, 50 a second, as peaks.py has them. */
function peaksOf(wav) {
  const rate = wav.getUint32(24, true);
  const perBin = Math.max(1, Math.floor(rate / BINS));
  const samples = new Int16Array(wav.buffer, HEADER, Math.floor((wav.byteLength - HEADER) / 2));
  return [0, 1].map((channel) => {
    const peaks = new Uint8Array(Math.ceil(samples.length / 2 / perBin));
    for (let bin = 0; bin < peaks.length; bin++) {
      let most = 0;
      const end = Math.min(samples.length, 2 * perBin * (bin + 1));
      for (let at = 2 * perBin * bin + channel; at < end; at += 2) most = Math.max(most, Math.abs(samples[at]));
      peaks[bin] = Math.round(255 * Math.sqrt(most / 32768));
    }
    return peaks;
  });
}
