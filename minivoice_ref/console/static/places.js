// Where in a JSON text a path leads: actions[0].stream_url, or ['odd key'].x. Pure.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g;
const STEP = /\[(\d+)\]|\[(['"])(.*?)\2\]|[^.[\]]+/g;

/** The place of a path's value, [start, end]; where it is missing, of what should hold it. */
export function placeOf(text, path) {
  const tokens = [...text.matchAll(TOKEN)].map((match) => ({ text: match[0], start: match.index, end: match.index + match[0].length }));
  if (!tokens.length) return [0, text.length];
  let at = 0;
  for (const [name, index, , odd] of path.matchAll(STEP)) {
    const inside = index === undefined ? memberOf(tokens, at, odd ?? name) : itemOf(tokens, at, Number(index));
    if (inside === null) break;
    at = inside;
  }
  return [tokens[at].start, tokens[behind(tokens, at) - 1].end];
}

/** The number of the token after the value that begins at one. */
function behind(tokens, at) {
  let depth = 0;
  do {
    if ("{[".includes(tokens[at].text)) depth++;
    if ("}]".includes(tokens[at].text)) depth--;
    at++;
  } while (depth > 0 && at < tokens.length);
  return at;
}

function itemOf(tokens, at, wanted) {
  if (tokens[at].text !== "[") return null;
  at++;
  for (let number = 0; tokens[at] && tokens[at].text !== "]"; number++) {
    if (number === wanted) return at;
    at = behind(tokens, at);
    if (tokens[at]?.text === ",") at++;
  }
  return null;
}

function memberOf(tokens, at, wanted) {
  if (tokens[at].text !== "{") return null;
  at++;
  while (tokens[at + 2] && tokens[at + 1].text === ":") {
    if (keyOf(tokens[at].text) === wanted) return at + 2;
    at = behind(tokens, at + 2);
    if (tokens[at]?.text === ",") at++;
  }
  return null;
}

function keyOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
