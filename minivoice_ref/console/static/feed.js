// The one connection to the receiver: commands out, news in. It reconnects by itself, and then asks
// again for what is in front of the reader; the server answers with the whole present state.

const listeners = new Map();
let socket = null;
let wants = {};
let pause = 500;
let number = 0;
let lostAt = null; // by the server's clock, while there is no connection

/** What the server said of itself when it greeted. */
export const server = { hello: null, clockOffset: 0 };

/** Have `take(message)` called for messages of a type; also "open", "lost" and "audio". Returns how
 *  to end it. */
export function on(type, take) {
  if (!listeners.has(type)) listeners.set(type, new Set());
  listeners.get(type).add(take);
  return () => listeners.get(type).delete(take);
}

function tell(type, message) {
  for (const take of [...(listeners.get(type) ?? [])]) take(message);
}

/** Say what is in front of the reader from now on. */
export function look(changes) {
  wants = { ...wants, ...changes };
  send({ do: "look", ...wants });
}

/** Send a command; without a connection it is dropped, and false returned. */
export function send(command) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(command instanceof ArrayBuffer ? command : JSON.stringify(command));
  return true;
}

/** A number that the answers to a command carry. */
export function nextNumber() {
  return ++number;
}

/** Seconds since 1970 by the server's clock; without a connection, when it was lost. */
export function now() {
  return lostAt ?? Date.now() / 1000 + server.clockOffset;
}

/** Connect, for ever. */
export function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/console/feed`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    pause = 500;
    tell("open");
    send({ do: "look", ...wants });
  };
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) return tell("audio", data);
    const message = JSON.parse(data);
    if (message.type === "hello") {
      server.hello = message;
      lostAt = null;
      server.clockOffset = Date.parse(message.now) / 1000 - Date.now() / 1000;
    }
    tell(message.type, message);
  };
  socket.onclose = async () => {
    lostAt = now();
    tell("lost");
    if (await sessionIsOver()) return location.reload();
    setTimeout(connect, pause);
    pause = Math.min(pause * 1.6, 5000);
  };
}

/** Whether the server is there but does not know us any more: then it shows its login page. */
async function sessionIsOver() {
  try {
    const answer = await fetch("/console/", { method: "HEAD", redirect: "manual" });
    return answer.type === "opaqueredirect" || answer.status === 401;
  } catch {
    return false;
  }
}
