// The log of status events, newest first, as sentences.

import { clock, duration, element, moment } from "./format.js";

const KEPT = 200;
const NAMED = 3; // symbols named in a sentence
const GROUPED = new Set(["connected", "disconnected", "gap", "repaired", "stale"]);
const GROUPS = 6; // entries that the next event may belong to
const GROUP_MS = 30_000; // from the first to the last event of an entry

const REPAIRS = {
  ids: "The ids of the trades prove that none is missing",
  trades: "The missing trades were filled in by their ids",
  candle: "The exchange's own candle took its place",
  snapshot: "A whole snapshot came",
  stream: "It goes on without a snapshot",
};

function symbolsOf({ symbols, symbols_total: total, topic }) {
  if (!symbols || !symbols.length) return topic || "";
  const count = total || symbols.length; // of very many not all come
  if (count <= NAMED) return symbols.join(", ");
  return `${symbols.slice(0, NAMED - 1).join(", ")} and ${count - NAMED + 1} more`;
}

function spanOf({ from, until }) {
  if (!from) return "";
  if (!until) return ` since ${clock(from)}`;
  return ` from ${clock(from)} to ${clock(until)} (${duration((until - from) / 1000)})`;
}

const SENTENCES = {
  connected: ["good", (event) => `connected: ${symbolsOf(event)}`],
  disconnected: ["bad", (event) => {
    const end = event.final ? ". The stream was given up" : "";
    return `connection ended: ${symbolsOf(event)}. ${event.reason || "Several reasons"}${end}`;
  }],
  gap: ["bad", (event) => {
    const why = event.reason ? `. ${event.reason}` : "";
    return `data missing${spanOf(event)}: ${symbolsOf(event)}${why}`;
  }],
  repaired: ["good", (event) => `repaired${spanOf(event)}: ${symbolsOf(event)}. ${REPAIRS[event.how] || event.how}`],
  stale: ["warn", (event) => {
    const silent = event.silent_s ? ` for ${duration(event.silent_s)}` : "";
    return `silent${silent}: ${event.topic || symbolsOf(event) || "the whole connection"}`;
  }],
  quarantined: ["warn", (event) => `refused by the exchange: ${event.topic}. ${event.message}. It is tried again later`],
  sink_down: ["bad", (event) => `does not work${spanOf(event)}: ${event.reason}`],
  sink_up: ["good", (event) => {
    const lost = (event.lost || 0) + (event.raw_dropped || 0);
    return `works again, was away${spanOf(event)}; ${lost ? `${lost} messages were lost` : "nothing was lost"}`;
  }],
  listed: ["", (event) => `listed by the exchange: ${symbolsOf(event)}`],
  delisted: ["", (event) => `no longer listed by the exchange: ${symbolsOf(event)}`],
};

/** The severity and sentence of a status event. */
export function sentenceOf(event) {
  const [severity, say] = SENTENCES[event.event] || ["", () => event.event.replaceAll("_", " ")];
  return [severity, say(event).trim()];
}

/** Several events that are one to a reader: the same change of many symbols within seconds. */
class Entry {
  constructor(event) {
    this.key = GROUPED.has(event.event) ? [event.event, event.market, event.kind, event.how, event.final].join() : null;
    this.event = event;
  }

  /** Take one more event in; false where it is another matter. */
  takes(event, key) {
    if (!key || key !== this.key || Math.abs(event.ts - this.event.ts) > GROUP_MS) return false;
    const both = [this.event, event];
    const [known, more] = both.map((each) => each.symbols || []);
    if (more.some((symbol) => known.includes(symbol))) return false; // the same of a symbol again is news
    const unnamed = both.map((each) => Math.max(0, (each.symbols_total || 0) - (each.symbols || []).length));
    const symbols = [...known, ...more];
    const times = (name) => both.map((each) => each[name]).filter(Boolean);
    this.event = { ...this.event, symbols, symbols_total: symbols.length + unnamed[0] + unnamed[1] };
    if (this.event.topic !== event.topic) delete this.event.topic;
    if (this.event.reason !== event.reason) delete this.event.reason;
    if (times("from").length) this.event.from = Math.min(...times("from"));
    if (times("until").length) this.event.until = Math.max(...times("until"));
    return true;
  }
}

export class Log {
  /** `place` has the elements: rows, empty. */
  constructor(place) {
    this.place = place;
    this.entries = []; // newest first, as the rows are
  }

  /** Replace all by these events, oldest first. */
  setAll(events) {
    this.entries = [];
    for (const event of events) this.take(event);
    this.place.rows.replaceChildren(...this.entries.map(({ event }) => rowOf(event)));
    this.place.empty.hidden = events.length > 0;
  }

  add(event) {
    const { rows, empty } = this.place;
    const at = this.take(event);
    if (at < 0) rows.prepend(rowOf(event));
    else rows.children[at].replaceWith(rowOf(this.entries[at].event));
    while (rows.childElementCount > this.entries.length) rows.lastElementChild.remove();
    empty.hidden = true;
  }

  /** Keep an event; returns the place of the entry that took it in, or -1 where it is a new one. */
  take(event) {
    const entry = new Entry(event);
    const at = this.entries.slice(0, GROUPS).findIndex((each) => each.takes(event, entry.key));
    if (at < 0) this.entries = [entry, ...this.entries.slice(0, KEPT - 1)];
    return at;
  }
}

function rowOf(event) {
  const [severity, sentence] = sentenceOf(event);
  const time = element("time", "", clock(event.ts));
  time.dateTime = new Date(event.ts).toISOString();
  time.title = `${moment(event.ts)} UTC`;
  const what = event.sink ? `output ${event.sink}` : [event.market, event.kind].filter(Boolean).join(" ");
  const text = element("span", "text", sentence);
  text.title = [event.stream, (event.symbols || []).slice(0, 40).join(" ")].filter(Boolean).join(": ");
  const row = element("li", severity, time, element("span", "dot"), element("span", "what", what), text);
  return row;
}
