// The connection to the collector: opens itself again, and says how it stands. Knows no message but by its type.

const RETRY_MS = [1000, 2000, 4000, 8000]; // between attempts, the last one from then on
const SILENT_MS = 5000; // the strip comes every second: nothing for so long, and the connection is dead

/** One WebSocket that is kept open. `onMessage(message)` takes each; `onState(state)` one of
 * {state: "connecting" | "live"} and {state: "waiting", untilMs, reason}. */
export class Connection {
  constructor(url, onMessage, onState) {
    Object.assign(this, { url, onMessage, onState });
    this.socket = null;
    this.attempts = 0;
    this.timer = 0;
    this.watchdog = 0;
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.retryNow());
  }

  open() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.onState({ state: "connecting" });
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.expect();
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.attempts = 0;
        this.onState({ state: "live" });
      }
      this.onMessage(message);
    };
    socket.onclose = ({ code, reason }) => socket === this.socket && this.lost(code, reason);
    this.expect();
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /** Try again without waiting for the next attempt. */
  retryNow() {
    if (this.timer) this.open();
  }

  expect() {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.lost(0, "nothing came for five seconds"), SILENT_MS);
  }

  lost(code, reason) {
    clearTimeout(this.watchdog);
    const socket = this.socket;
    this.socket = null; // what it still brings is dropped
    if (socket) socket.close();
    const waitMs = RETRY_MS[Math.min(this.attempts++, RETRY_MS.length - 1)];
    this.timer = setTimeout(() => this.open(), waitMs);
    const said = { 1001: "the collector has stopped", 1006: "the collector cannot be reached" }[code];
    this.onState({ state: "waiting", untilMs: Date.now() + waitMs, reason: said || reason || `closed with ${code}` });
  }
}
