// The chart: candles and volume of one view, the line of values above it, and the card beside the crosshair.

import {
  createChart, CrosshairMode, HistogramSeries, LineStyle,
} from "./vendor/lightweight-charts.standalone.production.mjs";
import { CandleView, INCOMPLETE, OPEN, REPAIRED, REVISED } from "./candles.js";
import { compact, decimalsOf, element, moment, padded, setText } from "./format.js";

const SHOWN = 120; // candles in sight at first, on a wide screen
const BAR_PX = 7; // and no narrower than so
const MARGIN = 4; // candles of room right of the newest
const DAY_S = 86400;
const KEPT = 5000; // candles of a page that is open for days; then the oldest go

const SOURCES = {
  history: "the exchange's history", trades: "counted from trades", exchange: "the exchange's own candle",
};

/** Make an item of the series from a row of the protocol; its texts are kept as they came. */
function itemOf(row) {
  const [time, open, high, low, close, volume, flags, revision, source, reason = ""] = row;
  return {
    time, open: Number(open), high: Number(high), low: Number(low), close: Number(close),
    flags, revision, source, reason, texts: { open, high, low, close, volume },
  };
}

const SIGNS = [[INCOMPLETE, "incomplete"], [REPAIRED, "repaired"], [REVISED, "revised"]];

/** What the flags of a candle say, for people; "" of one that is whole and as it was issued first. */
function stateOf({ flags }) {
  return SIGNS.filter(([flag]) => flags & flag).map(([, name]) => name).join(", ");
}

/** The gravest of them. */
function flagOf({ flags }) {
  return SIGNS.find(([flag]) => flags & flag)?.[1] || "";
}

export class Chart {
  /** `place` has the elements: canvas, legend, card, note. */
  constructor(place) {
    this.place = place;
    this.byTime = new Map();
    this.items = [];
    this.decimals = 0;
    this.pinned = null; // the candle that the keyboard is on
    this.hovered = null;
    this.view = null;
    this.note = "";
    this.chart = createChart(place.canvas, {
      autoSize: true,
      layout: { attributionLogo: false, fontSize: 11 }, // the link is in index.html: the library's own needs inline CSS
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { timeVisible: true, rightOffset: MARGIN, minBarSpacing: 0.6, borderVisible: false },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.12, bottom: 0.24 } },
      handleScroll: { vertTouchDrag: false }, // a finger that moves up scrolls the page
    });
    this.candles = this.chart.addCustomSeries(new CandleView(), {});
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "", priceFormat: { type: "custom", formatter: compact, minMove: 1e-9 },
      lastValueVisible: false, priceLineVisible: false,
    });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.subscribeCrosshairMove((event) => this.onCrosshair(event));
    this.applyTheme();
  }

  /** Take the colours of the page's theme. */
  applyTheme() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colors = { up: color("up-volume"), down: color("down-volume") };
    this.chart.applyOptions({
      layout: {
        background: { color: color("panel") }, textColor: color("muted"), fontFamily: style.fontFamily,
      },
      grid: { vertLines: { color: color("grid") }, horzLines: { color: color("grid") } },
      crosshair: {
        vertLine: { color: color("muted"), labelBackgroundColor: color("label") },
        horzLine: { color: color("muted"), labelBackgroundColor: color("label") },
      },
    });
    this.candles.applyOptions({
      up: color("up"), down: color("down"), incomplete: color("hatch"), repaired: color("repaired"),
      revised: color("revised"), background: color("panel"), color: color("label"),
      priceLineStyle: LineStyle.Dotted,
    });
    this.volume.setData(this.items.map((item) => this.volumeOf(item)));
    this.colorLast();
  }

  volumeOf(item) {
    const color = item.close >= item.open ? this.colors.up : this.colors.down;
    return { time: item.time, value: Number(item.texts.volume), color };
  }

  /** Empty the chart for another view, until its candles come. */
  begin(view) {
    if (view.symbol !== this.view?.symbol || view.market !== this.view.market) this.setDecimals(0);
    this.view = view;
    this.isNew = true;
    this.unpin();
    this.replace([]);
    this.say("", "Loading candles …");
  }

  /** Take a `candles` message: it replaces all. */
  setAll(message) {
    this.step = message.step_s;
    this.raiseDecimals(message.price_decimals);
    this.chart.timeScale().applyOptions({
      timeVisible: this.step > 0 && this.step < DAY_S, secondsVisible: this.step > 0 && this.step < 60,
    });
    const wasAtEnd = this.chart.timeScale().scrollPosition() > -1;
    this.replace(message.rows.map(itemOf));
    if (this.isNew && this.items.length) {
      this.isNew = message.is_loading;
      this.showNewest();
    } else if (wasAtEnd) this.toEnd();
    this.say(message.note, message.is_loading ? "Loading candles …" : "No candle is known yet.");
  }

  /** Take one candle, new or changed. */
  set(row) {
    const item = itemOf(row);
    const known = this.byTime.get(item.time);
    const last = this.items.at(-1);
    this.raiseDecimals(decimalsOf(item.texts.close));
    if (known) this.items[this.items.indexOf(known, known === last ? -1 : 0)] = item;
    else if (!last || item.time > last.time) this.items.push(item);
    if (known || item === this.items.at(-1)) {
      this.byTime.set(item.time, item);
      const isPast = item.time < this.items.at(-1).time;
      this.candles.update(item, isPast);
      this.volume.update(this.volumeOf(item), isPast);
      if (this.items.length > KEPT + 500) this.replace(this.items.slice(-KEPT));
    } else { // one that was missed, between others
      this.replace([...this.items, item].sort((one, other) => one.time - other.time));
    }
    this.say(this.note);
    this.colorLast();
    this.render();
  }

  replace(items) {
    this.items = items;
    this.byTime = new Map(items.map((item) => [item.time, item]));
    this.candles.setData(items);
    this.volume.setData(items.map((item) => this.volumeOf(item)));
    this.colorLast();
    this.render();
  }

  /** Show prices with at least so many digits after the point. */
  raiseDecimals(decimals) {
    if (decimals <= this.decimals) return;
    this.setDecimals(decimals);
    this.render();
  }

  setDecimals(decimals) {
    if (decimals === this.decimals) return;
    this.decimals = decimals;
    const minMove = Number((10 ** -decimals).toFixed(decimals));
    this.candles.applyOptions({ priceFormat: { type: "price", precision: decimals, minMove } });
  }

  /** The price's label on the axis has the colour of the candle. */
  colorLast() {
    const last = this.items.at(-1);
    if (!last) return;
    const name = last.close >= last.open ? "--up-fill" : "--down-fill";
    this.candles.applyOptions({ color: getComputedStyle(document.documentElement).getPropertyValue(name).trim() });
  }

  showNewest() {
    const width = this.place.canvas.clientWidth;
    const shown = Math.max(20, Math.min(SHOWN, Math.floor(width / BAR_PX)));
    const to = this.items.length - 1 + MARGIN;
    this.chart.timeScale().setVisibleLogicalRange({ from: to - shown, to });
  }

  // -- what is said beside it ----------------------------------------------------------------------------------------

  /** Show a sentence: in the middle while there is no candle, then aside; `whileEmpty` where there is none else. */
  say(text, whileEmpty = "") {
    const shown = text || (this.items.length ? "" : whileEmpty);
    this.note = text;
    this.place.note.hidden = !shown;
    this.place.note.classList.toggle("aside", this.items.length > 0);
    setText(this.place.note, shown);
  }

  onCrosshair({ time, point }) {
    if (time === undefined || !point) {
      this.hovered = null;
    } else {
      this.hovered = this.byTime.get(time) || null;
      this.point = point;
      if (this.hovered && this.pinned && this.pinned.time !== time) this.pinned = null; // the mouse took over
    }
    this.render();
  }

  /** Move the keyboard's candle by so many; the first step begins at the newest in sight. */
  stepBy(count) {
    if (!this.items.length) return;
    const last = this.items.length - 1;
    const at = this.pinned ? this.items.indexOf(this.byTime.get(this.pinned.time)) + count : last;
    this.pinned = this.items[Math.max(0, Math.min(last, at))];
    const index = this.items.indexOf(this.pinned);
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range && (index < range.from || index > range.to)) {
      const shift = index < range.from ? index - range.from - 1 : index - range.to + 1;
      this.chart.timeScale().setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
    }
    this.chart.setCrosshairPosition(this.pinned.close, this.pinned.time, this.candles);
    this.render();
  }

  unpin() {
    this.pinned = this.hovered = null;
    this.chart.clearCrosshairPosition();
    this.render();
  }

  zoom(factor) {
    const scale = this.chart.timeScale();
    scale.applyOptions({ barSpacing: Math.max(0.6, Math.min(60, scale.options().barSpacing * factor)) });
  }

  toEnd() {
    this.chart.timeScale().scrollToPosition(MARGIN, false);
  }

  render() {
    const { legend, card } = this.place;
    const chosen = this.pinned ? this.byTime.get(this.pinned.time) : this.hovered && this.byTime.get(this.hovered.time);
    const item = chosen || this.items.at(-1);
    legend.hidden = !item;
    card.hidden = !chosen;
    if (item) this.renderLegend(item);
    if (chosen) this.renderCard(chosen);
  }

  renderLegend(item) {
    const { legend } = this.place;
    if (!this.values) {
      this.values = ["Open", "High", "Low", "Close", "Volume"].map((name) => {
        const value = element("span", "value");
        const label = element("abbr", "", name[0]);
        label.title = name;
        legend.append(element("span", "pair", label, value));
        return value;
      });
      this.legendState = element("span", "state");
      legend.append(this.legendState);
    }
    const { texts } = item;
    const shown = [texts.open, texts.high, texts.low, texts.close].map((text) => padded(text, this.decimals));
    [...shown, texts.volume].forEach((text, i) => setText(this.values[i], text));
    legend.dataset.direction = item.close >= item.open ? "up" : "down";
    setText(this.legendState, flagOf(item) && stateOf(item));
    this.legendState.dataset.flag = flagOf(item);
  }

  renderCard(item) {
    const { card, canvas } = this.place;
    const { texts } = item;
    const list = element("dl");
    const add = (name, value) => list.append(element("dt", "", name), element("dd", "", value));
    for (const name of ["open", "high", "low", "close"]) add(capital(name), padded(texts[name], this.decimals));
    add("Volume", texts.volume);
    add("Complete", item.flags & OPEN ? "not closed yet" : item.flags & INCOMPLETE ? "no" : "yes");
    add("Source", SOURCES[item.source] || item.source);
    add("Revision", String(item.revision));
    card.replaceChildren(element("p", "time", `${moment(item.time * 1000)} UTC`), list);
    if (flagOf(item)) {
      const state = element("p", "state", stateOf(item));
      state.dataset.flag = flagOf(item);
      list.before(state);
    }
    if (item.reason) card.append(element("p", "reason", item.reason));
    card.dataset.time = item.time;
    const x = this.chart.timeScale().timeToCoordinate(item.time) ?? 0;
    const isLeft = x < canvas.clientWidth / 2;
    card.style.left = isLeft ? `${x + 16}px` : "";
    card.style.right = isLeft ? "" : `${canvas.clientWidth - x + 16}px`;
  }
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
