// The log of status events, newest first, as sentences.

import { clock, duration, element, moment } from "./format.js";

const KEPT = 200;
const NAMED = 3; // symbols named in a sentence

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
    return `connection ended: ${symbolsOf(event)}. ${event.reason || "No reason is known"}${end}`;
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

export class Log {
  /** `place` has the elements: rows, empty. */
  constructor(place) {
    this.place = place;
  }

  /** Replace all by these events, oldest first. */
  setAll(events) {
    this.place.rows.replaceChildren(...events.slice(-KEPT).reverse().map(rowOf));
    this.place.empty.hidden = events.length > 0;
  }

  add(event) {
    const { rows, empty } = this.place;
    empty.hidden = true;
    rows.prepend(rowOf(event));
    while (rows.childElementCount > KEPT) rows.lastElementChild.remove();
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
