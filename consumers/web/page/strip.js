// The strip: how the collector is, once a second.

import { clock, compact, count, duration, element, setAttribute, setText } from "./format.js";

const SLOW_MS = 2000; // lag of the exchange's messages that is worth a look
const OFF_MS = 1000; // of the clock
const WAITING = 1000; // messages in a queue

export class Strip {
  /** `place` is the element that the cells go into. */
  constructor(place) {
    this.place = place;
    this.cells = new Map();
  }

  /** Take a `strip` message. */
  set(message) {
    const seen = new Set();
    const show = (key, label, value, mood = "", title = "") => {
      seen.add(key);
      this.show(key, label, value, mood, title, seen.size);
    };
    const reasons = message.reasons || [];
    const more = reasons.length > 1 ? ` (and ${reasons.length - 1} more)` : "";
    show("ready", "State", message.ready ? "Ready" : reasons.length ? saidOf(reasons[0]) + more : "Not ready",
      message.ready ? "good" : "bad", reasons.map((each) => sinceOf(each, message.now_ms)).join("\n"));
    for (const each of message.streams || []) {
      const isWhole = each.live >= each.total;
      show(`${each.market} ${each.kind}`, `${each.market} ${each.kind}`,
        `${each.live}/${each.total} · ${rate(each.messages_s)}`, isWhole ? "" : "bad",
        `${each.live} of ${each.total} streams are live; ${count(Math.round(each.messages_s))} messages a second`);
    }
    show("messages", "Messages", rate(message.messages_s));
    const lags = Object.entries(message.lag_ms || {});
    const worst = Math.max(...lags.map(([, ms]) => ms));
    if (lags.length) {
      show("lag", "Lag", lags.map(([, ms]) => `${count(Math.round(ms))} ms`).join(" · "), worst > SLOW_MS ? "warn" : "",
        `From the exchange's match to its receipt: ${lags.map(([market, ms]) => `${market} ${ms} ms`).join(", ")}`);
    }
    if (message.aggregator) {
      const { queue } = message.aggregator;
      show("queue", "Queue", count(queue), queue > WAITING ? "warn" : "", "Messages of trades that wait to be counted");
    }
    for (const each of message.outputs || []) {
      const said = [each.up ? "up" : "down"];
      if (each.queue) said.push(`${compact(each.queue)} waiting`);
      if (each.dropped) said.push(`${compact(each.dropped)} lost`);
      show(`output ${each.name}`, each.name, said.join(" · "),
        each.up ? (each.dropped || each.queue > WAITING ? "warn" : "") : "bad",
        `Output ${each.name}: ${count(each.queue)} messages wait, ${count(each.dropped)} were dropped since the start`);
    }
    if (message.klines) {
      const { closed, incomplete, revised } = message.klines;
      show("klines", "Klines closed", compact(closed), "",
        `${count(closed)} closed, ${count(incomplete)} of them incomplete at first, ${count(revised)} revised`);
      show("incomplete", "Incomplete · revised", `${compact(incomplete)} · ${compact(revised)}`, "",
        "Klines that closed incomplete, and klines that were issued again: repaired ones are among them");
    }
    if (message.audit) {
      const { compared, different, last_ms: lastMs } = message.audit;
      const last = lastMs ? ` · ${clock(lastMs).slice(0, 5)}` : "";
      const equal = `${compact(compared - different)} equal`;
      show("audit", "Audit", !compared ? "not yet" : different ? `${compact(different)} differ · ${equal}` : equal + last,
        different ? "bad" : "", `${count(compared)} candles compared with the exchange's own, ${count(different)} different`);
    }
    if (message.clock) {
      const { known, offset_ms: offset } = message.clock;
      const sign = offset > 0 ? "+" : offset < 0 ? "−" : "";
      show("clock", "Clock", known ? `${sign}${count(Math.abs(Math.round(offset)))} ms` : "unknown",
        known && Math.abs(offset) <= OFF_MS ? "" : "warn", "This machine's clock against the exchange's");
    }
    show("uptime", "Up", duration(message.uptime_s));
    for (const [key, cell] of this.cells) {
      if (!seen.has(key)) {
        cell.box.remove();
        this.cells.delete(key);
      }
    }
  }

  show(key, label, value, mood, title, order) {
    let cell = this.cells.get(key);
    if (!cell) {
      const name = element("dt", "", label);
      const text = element("dd");
      cell = { box: element("div", "cell", name, text), text };
      cell.box.dataset.key = key;
      this.cells.set(key, cell);
      this.place.append(cell.box);
    }
    cell.box.style.order = order;
    setText(cell.text, value);
    setAttribute(cell.box, "data-mood", mood || null);
    setAttribute(cell.box, "title", title || null);
  }
}

function rate(perSecond) {
  return `${perSecond < 10 && perSecond % 1 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

function saidOf({ reason, what }) {
  return what || reason.replaceAll("_", " ");
}

function sinceOf(each, nowMs) {
  const since = each.since ? ` since ${clock(each.since)} UTC (${duration((nowMs - each.since) / 1000)})` : "";
  return saidOf(each) + since;
}
