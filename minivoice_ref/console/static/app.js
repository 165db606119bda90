// The page: which view is open (by the part of the address behind #), the bar, the theme.
//
// A view is a module with `title`, `wants(id)`: what the feed is to tell, and `open(root, id)`, which
// draws and returns how to close. Read next: feed.js, calls.js, call.js.

import { connect, look, on, server } from "./feed.js";
import { fill, h, icon, mark, newColours, say } from "./dom.js";
import * as calls from "./calls.js";
import * as call from "./call.js";
import * as logs from "./logs.js";
import * as test from "./testcall.js";
import * as actions from "./actions.js";

const VIEWS = { calls, call, logs, test, actions };
const TABS = [
  ["calls", "Calls"],
  ["logs", "Logs"],
  ["test", "Test call"],
  ["actions", "Actions"],
];
const main = document.getElementById("main");
const link = document.getElementById("link");
let close = null;

/** The view and its id that the address names; the list of calls where it names none of ours. */
function route() {
  const [, name = "", part = ""] = location.hash.split("/");
  const id = decoded(part);
  const known = Object.hasOwn(VIEWS, name) && (name !== "call" || id);
  return known ? [name, id] : ["calls", null];
}

function decoded(part) {
  try {
    return decodeURIComponent(part) || null;
  } catch {
    return null; // somebody typed it
  }
}

function open() {
  const [name, id] = route();
  close?.();
  const view = VIEWS[name];
  document.title = `${id ?? view.title} · MiniVoice console`;
  drawTabs(name);
  fill(main);
  close = view.open(main, id) ?? null;
  look({ calls: false, logs: false, call: null, listen: false, ...view.wants(id) });
  window.scrollTo(0, 0);
}

/** Go where the address leads now; the reader's place is at the new view's heading. */
function go() {
  open();
  const heading = main.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  main.focus();
});

function drawTabs(current) {
  const shown = TABS.filter(([name]) => name !== "test" || server.hello?.test);
  const here = current === "call" ? "calls" : current;
  const links = shown.map(([name, label]) =>
    h("a", { href: `#/${name}`, "aria-current": name === here ? "page" : null }, label));
  fill(document.getElementById("nav"), links);
}

// --- the theme: the system's, until somebody chooses ---

const dark = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : dark.matches;
}

function showTheme() {
  newColours();
  fill(themeButton, icon(isDark() ? "sun" : "moon"));
  mark(themeButton, "aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
  mark(themeButton, "title", themeButton.getAttribute("aria-label"));
  dispatchEvent(new Event("theme"));
}

themeButton.addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  showTheme();
});
dark.addEventListener("change", showTheme);
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
showTheme();

// --- the connection ---

function showLink(state, text) {
  document.documentElement.dataset.link = state;
  say(link, text);
}

on("open", () => showLink("on", "Connected"));
on("lost", () => showLink("off", "Not connected – trying again"));
on("hello", (hello) => {
  document.getElementById("logout").hidden = !hello.log_out;
  drawTabs(route()[0]);
});

addEventListener("hashchange", go);
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
  const search = main.querySelector("input[type=search]");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
showLink("off", "Connecting");
open();
connect();
