// The tape: the newest trades of the view, newest first; sides by colour and letter, large ones emphasised.

import { aligned, clock, decimalsOfAll, element, sized } from "./format.js";

const KEPT = 100; // rows
const SAMPLE = 200; // trades that say what is large
const LARGE = 0.95; // a trade is large above this share of them by value
const HUGE = 4; // and huge above so many times that

const SIDES = { buy: ["B", "buy"], sell: ["S", "sell"], "": ["", ""] };

export class Tape {
  /** `place` has the elements: rows. */
  constructor(place) {
    this.place = place;
    this.clear();
  }

  clear() {
    this.values = [];
    this.waiting = [];
    this.decimals = { price: 0, size: 0 };
    this.place.rows.replaceChildren();
  }

  /** Take a `trades` message; drawn with the next frame of the screen. */
  add({ rows, is_first: isFirst, skipped }) {
    if (isFirst) this.clear();
    if (!this.waiting.length && rows.length) requestAnimationFrame(() => this.draw());
    if (skipped) this.waiting.push(skipped);
    this.waiting.push(...rows);
    if (this.waiting.length > 2 * KEPT) this.waiting.splice(0, this.waiting.length - KEPT); // a hidden page has no frames
  }

  draw() {
    const arrived = this.waiting.slice(-KEPT);
    this.waiting = [];
    const trades = arrived.filter(Array.isArray);
    this.decimals.price = Math.max(this.decimals.price, decimalsOfAll(trades.map((trade) => trade[1])));
    this.decimals.size = Math.max(this.decimals.size, decimalsOfAll(trades.map((trade) => trade[2])));
    this.values.push(...trades.map(([, price, size]) => Number(price) * Number(size)));
    this.values.splice(0, this.values.length - SAMPLE);
    const sorted = [...this.values].sort((one, other) => one - other);
    const large = sorted.length >= 20 ? sorted[Math.floor(sorted.length * LARGE)] : Infinity;
    const made = arrived.map((each) => (Array.isArray(each) ? this.row(each, large) : skippedRow(each))).reverse();
    const { rows } = this.place;
    rows.prepend(...made);
    while (rows.childElementCount > KEPT) rows.lastElementChild.remove();
  }

  row([ms, price, size, side], large) {
    const [letter, name] = SIDES[side] || SIDES[""];
    const value = Number(price) * Number(size);
    const time = element("td", "time", clock(ms));
    const sideCell = element("td", "side", letter);
    if (name) sideCell.title = name;
    const line = element(
      "tr", name, time, sideCell,
      element("td", "price", aligned(price, this.decimals.price)),
      element("td", "size", sized(size, this.decimals.size)),
    );
    line.lastElementChild.title = size;
    if (value >= large) line.classList.add(value >= HUGE * large ? "huge" : "large");
    return line;
  }
}

function skippedRow(count) {
  const cell = element("td", "", `${count} more left out`);
  cell.colSpan = 4;
  return element("tr", "skipped", cell);
}
