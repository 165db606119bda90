// Elements and text. The one way in which anything comes onto the page: text is always a text node,
// so that nothing a peer sent can be anything but shown. (The page's policy forbids the other ways.)

const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `on` has listeners, `class` the classes, `hidden` and the like are set as
 *  properties where they are booleans, everything else as attributes. Null children are left out. */
export function h(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (typeof value === "boolean") {
      element[name] = value;
    } else if (value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Put these children in the place of all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Set an element's text, touching the page only where it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute, touching the page only where it differs. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

const ICONS = {
  ok: "M4.500 12.500l5 5 10-11",
  fail: "M6 6l12 12M18 6L6 18",
  waiting: "M12 6v6l4 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0z",
  unknown: "M6 12h12",
  inbound: "M18 6L6 18M6 9v9h9",
  outbound: "M6 18L18 6M9 6h9v9",
  phone: "M5 4h4l2 5-2.500 1.500a11 11 0 0 0 5 5L15 13l5 2v4a2 2 0 0 1-2 2A15 15 0 0 1 3 6a2 2 0 0 1 2-2z",
  listen: "M4 13a8 8 0 0 1 16 0M4 13v5h4v-5zM20 13v5h-4v-5z",
  play: "M7 5v14l12-7z",
  pause: "M8 5v14M16 5v14",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  back: "M15 5l-7 7 7 7",
  sun: "M12 4V2M12 22v-2M4 12H2M22 12h-2M6 6L4.500 4.500M19.500 19.500L18 18M6 18l-1.500 1.500M19.500 4.500L18 6M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0z",
  moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z",
  microphone: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5 11a7 7 0 0 0 14 0M12 18v3",
};

/** A drawing by name; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? "");
  svg.append(path);
  return svg;
}

const colours = new Map();

/** A colour of the style sheet as a canvas needs it; what is known is forgotten by `newColours`. */
export function colour(name) {
  if (!colours.has(name)) {
    const probe = h("span", { hidden: true });
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    colours.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return colours.get(name);
}

/** Forget the colours: the theme has changed. */
export function newColours() {
  colours.clear();
}
