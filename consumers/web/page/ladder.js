// The order book of the view: up to fifteen levels a side, the sum from the best one on, and the spread between.

import {
  aligned, decimalsOf, decimalsOfAll, element, scaled, setAttribute, setText, sized, unscaled,
} from "./format.js";

const LEVELS = 15;

class Row {
  constructor() {
    this.bar = element("span", "bar");
    this.price = element("span", "price");
    this.size = element("span", "size");
    this.total = element("span", "total");
    this.line = element("div", "row", this.bar, this.price, this.size, this.total);
    this.line.setAttribute("role", "row");
    this.bar.setAttribute("aria-hidden", "true");
    for (const cell of [this.price, this.size, this.total]) cell.setAttribute("role", "cell");
  }

  show(price, size, total, share, decimals) {
    setText(this.price, price);
    for (const [cell, text] of [[this.size, size], [this.total, total]]) {
      const shown = text && sized(text, decimals);
      setText(cell, shown);
      setAttribute(cell, "title", /\D$/.test(shown) ? text : null);
    }
    this.bar.style.transform = `scaleX(${share})`;
  }
}

export class Ladder {
  /** `place` has the elements: asks, bids, spread, note. */
  constructor(place) {
    this.place = place;
    this.sides = {};
    for (const side of ["asks", "bids"]) {
      this.sides[side] = Array.from({ length: LEVELS }, () => new Row());
      place[side].append(...this.sides[side].map((row) => row.line));
    }
    this.pending = null;
    this.clear();
  }

  clear() {
    this.decimals = { price: 0, size: 0 };
    this.pending = null;
    for (const rows of Object.values(this.sides)) for (const row of rows) row.show("", "", "", 0);
    setText(this.place.spread, "–");
    setText(this.place.best, "");
  }

  /** Take a `book` message; drawn with the next frame of the screen. */
  set(book) {
    if (!this.pending) requestAnimationFrame(() => this.draw());
    this.pending = book;
  }

  draw() {
    const book = this.pending;
    this.pending = null;
    if (!book) return;
    const levels = { asks: book.asks.slice(0, LEVELS), bids: book.bids.slice(0, LEVELS) };
    const all = [...levels.asks, ...levels.bids];
    this.decimals.price = Math.max(this.decimals.price, decimalsOfAll(all.map(([price]) => price)));
    this.decimals.size = Math.max(this.decimals.size, decimalsOfAll(all.map(([, size]) => size)));
    const digits = Math.max(this.decimals.size, ...all.map(([, size]) => decimalsOf(size)));
    const totals = {};
    for (const side of ["asks", "bids"]) {
      let sum = 0n;
      totals[side] = levels[side].map(([, size]) => (sum += scaled(size, digits)));
    }
    const deepest = Math.max(1, ...["asks", "bids"].map((side) => Number(totals[side].at(-1) ?? 0n)));
    for (const side of ["asks", "bids"]) {
      this.sides[side].forEach((row, i) => {
        const level = levels[side][i];
        if (!level) return row.show("", "", "", 0);
        const total = unscaled(totals[side][i], digits);
        const share = Number(totals[side][i]) / deepest;
        row.show(aligned(level[0], this.decimals.price), level[1], total, share, this.decimals.size);
      });
    }
    this.drawSpread(levels);
  }

  drawSpread({ asks, bids }) {
    if (!asks.length || !bids.length) return setText(this.place.spread, "–");
    const digits = Math.max(decimalsOf(asks[0][0]), decimalsOf(bids[0][0]));
    const spread = scaled(asks[0][0], digits) - scaled(bids[0][0], digits);
    const middle = (Number(asks[0][0]) + Number(bids[0][0])) / 2;
    const basis = middle > 0 ? (Number(unscaled(spread, digits)) / middle) * 10000 : 0;
    setText(this.place.spread, aligned(unscaled(spread, digits), this.decimals.price));
    setText(this.place.best, `${basis < 10 ? basis.toFixed(2) : basis.toFixed(0)} bp`);
  }
}
