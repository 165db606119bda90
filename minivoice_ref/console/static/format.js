// Times, sizes and names for people. Pure.

/** Seconds as 4.2 s, 1:05 or 1:02:03. */
export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest.replace(/^0/, "");
}

/** A moment after another, with a sign: +1.234 s. */
export function offset(seconds) {
  return `${seconds < 0 ? "−" : "+"}${Math.abs(seconds).toFixed(3)} s`;
}

/** The time of day of a log line, with milliseconds. */
export function clock(time) {
  const moment = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  const millis = String(moment.getMilliseconds()).padStart(3, "0");
  return `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}.${millis}`;
}

/** The day and time of a call. */
export function day(time) {
  const moment = new Date(time);
  const today = new Date().toDateString() === moment.toDateString();
  const date = today ? "" : `${moment.toLocaleDateString(undefined, { month: "short", day: "numeric" })}, `;
  return date + moment.toLocaleTimeString();
}

/** Seconds since 1970 of a log line's time, to the microsecond as far as a number holds it. */
export function seconds(time) {
  const match = /^(.*?)(\.\d+)?(Z|[+-]\d\d:\d\d)$/.exec(time ?? "");
  if (!match) return NaN;
  return Date.parse(match[1] + match[3]) / 1000 + Number(match[2] ?? 0);
}

/** Bytes as 312 kB or 1.4 MB. */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A whole number with its thousands apart. */
export function count(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
}

/** What a log line says beside what is in every line. */
export function details(line) {
  const told = new Set(["time", "log", "level", "what", "code", "call_id", "stream_id", "answer_id", "traceback", "headers"]);
  const parts = [];
  for (const [name, value] of Object.entries(line)) {
    if (told.has(name) || isEmpty(value)) continue;
    if (name === "tracks" && value && !Array.isArray(value)) parts.push(...Object.entries(value).map(sums));
    else parts.push(`${name}=${typeof value === "string" ? value : JSON.stringify(value, rounded)}`);
  }
  return parts.join("  ");
}

function isEmpty(value) {
  return typeof value === "object" && value !== null && !Object.keys(value).length;
}

function rounded(_, value) {
  return typeof value === "number" ? Math.round(value * 1000) / 1000 : value;
}

/** What a track's account says, as far as it is worth a word. */
function sums([track, one]) {
  const odd = ["lost", "late", "repeated", "discarded"].filter((name) => one?.[name]);
  return `${track}=${one?.seconds} s${odd.map((name) => ` ${name}=${one[name]}`).join("")}`;
}

/** A peak's byte (a square root of the amplitude) as decibels below full scale, at least -60. */
export function decibels(peak) {
  return peak <= 0 ? -60 : Math.max(-60, 40 * Math.log10(peak / 255));
}

/** How far a level meter is out, from 0 to 1. */
export function meter(peak) {
  return (decibels(peak) + 60) / 60;
}
