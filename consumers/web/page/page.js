// The page: what is viewed, the keys, and who gets which message. The address holds the view: #linear/BTCUSDT/1m.

import { Chart } from "./chart.js";
import { aligned, decimalsOfAll, element, setText } from "./format.js";
import { Ladder } from "./ladder.js";
import { Log } from "./log.js";
import { Picker } from "./picker.js";
import { Connection } from "./socket.js";
import { Strip } from "./strip.js";
import { Tape } from "./tape.js";

const at = (id) => document.getElementById(id);

const NOTICE_MS = 6000;
const LONG_PRICE = 10; // characters; longer ones, 0.0000012420, are written smaller
const NAMES = { okx: "OKX", bingx: "BingX", kucoin: "KuCoin" }; // others are written with a capital, by page.css

const state = {
  markets: {}, exchange: "", view: null, price: "", hasTrades: false, isAsked: false, connection: { state: "connecting" },
};

export const chart = new Chart({
  canvas: at("chart-canvas"), legend: at("legend"), card: at("card"), note: at("chart-note"),
});
const ladder = new Ladder({ asks: at("asks"), bids: at("bids"), spread: at("spread"), best: at("spread-bp") });
const tape = new Tape({ rows: at("tape-rows") });
const log = new Log({ rows: at("log-rows"), empty: at("log-empty") });
const strip = new Strip(at("strip"));
const picker = new Picker(
  { dialog: at("picker"), input: at("picker-input"), list: at("picker-list"), count: at("picker-count") },
  ({ market, symbol }) => show({ market, symbol }),
);

// -- what is viewed ----------------------------------------------------------------------------------------------------

function readHash() {
  try {
    const [market, symbol, interval] = location.hash.slice(1).split("/").map(decodeURIComponent);
    return { market, symbol, interval };
  } catch {
    return {}; // a lone %: the address was cut off
  }
}

/** Fill in what a wish leaves open, and what is not there; null where nothing is collected. */
function completed(wish) {
  const { markets, proposed } = state;
  let market = wish.market in markets ? wish.market : proposed?.market;
  if (!(market in markets)) market = Object.keys(markets)[0];
  if (!market || !markets[market].symbols.length) return null;
  const { symbols, intervals } = markets[market];
  const named = [wish.symbol, state.view?.symbol, proposed?.symbol].find((each) => symbols.includes(each));
  const length = [wish.interval, state.view?.interval, proposed?.interval].find((each) => intervals.includes(each));
  return { market, symbol: named || symbols[0], interval: length || intervals[0] };
}

/** Show what is wished, as far as it is there: a market, symbol or interval, or several of them. */
function show(wish) {
  const before = state.view;
  const view = completed({ ...before, ...wish });
  if (!view) return;
  state.view = view;
  const hash = `#${[view.market, view.symbol, view.interval].map(encodeURIComponent).join("/")}`;
  if (location.hash !== hash) history.replaceState(null, "", hash);
  const isSame = before && before.market === view.market && before.symbol === view.symbol;
  if (!isSame) {
    state.price = "";
    state.hasTrades = false;
    ladder.clear();
    tape.clear();
    say("book-note", "");
    say("tape-note", "");
  }
  if (!isSame || before.interval !== view.interval) chart.begin(view);
  connection.send({ op: "view", ...view });
  state.isAsked = true;
  renderView();
}

function showHash() {
  const wish = readHash();
  show(wish);
  for (const part of ["market", "symbol", "interval"]) {
    if (wish[part] && state.view && wish[part] !== state.view[part]) {
      notify(`${wish[part]} of the address is not collected: ${state.view[part]} is shown`);
      break;
    }
  }
}

function renderView() {
  const { view, markets, exchange } = state;
  setText(at("exchange"), NAMES[exchange] || exchange);
  if (!view || !(view.market in markets)) return;
  setText(at("symbol-name"), view.symbol);
  setText(at("book-market"), view.market);
  choices(at("markets"), Object.keys(markets), view.market, (market) => show({ market }));
  choices(at("intervals"), markets[view.market].intervals, view.interval, (interval) => show({ interval }));
  at("markets").hidden = Object.keys(markets).length < 2;
  at("chart").setAttribute("aria-label", `Candles of ${view.symbol}, ${view.market}, ${view.interval}`);
  renderPrice();
}

function choices(place, names, chosen, onChoose) {
  const shown = names.join(" ");
  if (place.dataset.names !== shown) {
    place.dataset.names = shown;
    place.replaceChildren(...names.map((name) => {
      const button = element("button", "", name);
      button.type = "button";
      button.dataset.name = name;
      button.addEventListener("click", () => onChoose(name));
      return button;
    }));
  }
  for (const button of place.children) {
    button.setAttribute("aria-pressed", String(button.dataset.name === chosen));
    if (button.dataset.name === chosen) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function renderPrice() {
  const { view, price } = state;
  setText(at("price"), price || "–");
  const mark = state.connection.state === "live" ? "" : "(no connection) ";
  document.title = view ? `${mark}${price ? `${price} ` : ""}${view.symbol} · ${view.interval} · ${state.exchange}` : "Collector";
}

function setPrice(written) {
  const text = aligned(written, chart.decimals);
  const was = Number(state.price);
  const now = Number(text);
  if (state.price && now !== was) at("price").dataset.direction = now > was ? "up" : "down";
  if (!state.price) delete at("price").dataset.direction;
  state.price = text;
  document.body.classList.toggle("long", text.length > LONG_PRICE);
  renderPrice();
}

// -- messages ----------------------------------------------------------------------------------------------------------

const isOfView = (message) => state.view && message.symbol === state.view.symbol && message.market === state.view.market;
const isOfChart = (message) => isOfView(message) && message.interval === state.view.interval;

function setMarkets(markets) {
  state.markets = markets;
  picker.setMarkets(markets);
}

/** Take the price from the newest candle, where no trades come: those are newer. */
function priceOfCandle(rows) {
  if (rows.length && !state.hasTrades) setPrice(rows.at(-1)[4]);
}

/** Show a sentence for some seconds. */
function notify(text) {
  say("notice", text);
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => say("notice", ""), NOTICE_MS);
}

const FEEDS = {
  connecting: "Connecting …", lost: "Connection lost: what is shown is old", none: "This market has none",
  busy: "Too many symbols are viewed at once: try later",
};

function say(id, text) {
  at(id).hidden = !text;
  setText(at(id), text);
}

const TAKERS = {
  hello(message) {
    state.exchange = message.exchange;
    state.proposed = message.view;
    setText(at("version"), `Collector ${message.version} of ${message.exchange}.`);
    setMarkets(message.markets);
    log.setAll(message.events);
    ask();
    renderView();
    if (!state.isAsked) chart.say("The symbols are not known yet: the exchange is being asked.");
  },
  symbols(message) {
    state.proposed = message.view || state.proposed;
    setMarkets(message.markets);
    if (!state.isAsked) ask();
    renderView();
  },
  error(message) {
    notify(message.text);
  },
  candles(message) {
    if (!isOfChart(message)) return;
    chart.setAll(message);
    priceOfCandle(message.rows);
  },
  candle(message) {
    if (!isOfChart(message)) return;
    chart.set(message.row);
    if (message.row[0] === chart.items.at(-1).time) priceOfCandle([message.row]);
  },
  book(message) {
    if (!isOfView(message)) return;
    ladder.set(message);
    if (at("book").dataset.feed === "connecting") say("book-note", "");
  },
  trades(message) {
    if (!isOfView(message)) return;
    tape.add(message);
    if (!message.rows.length) return;
    state.hasTrades = true;
    if (at("tape").dataset.feed === "connecting") say("tape-note", "");
    chart.raiseDecimals(decimalsOfAll(message.rows.map((row) => row[1])));
    setPrice(message.rows.at(-1)[1]);
  },
  feed(message) {
    if (!isOfView(message)) return;
    for (const part of ["book", "tape"]) {
      const isSaid = message[part] === "live" || message[part] === "connecting";
      say(`${part}-note`, isSaid ? FEEDS[message[part]] || "" : message.text || FEEDS[message[part]]);
      at(part).dataset.feed = message[part];
    }
    if (message.tape !== "live") state.hasTrades = false;
  },
  strip(message) {
    strip.set(message);
  },
  event(message) {
    log.add(message.event);
  },
};

/** Ask for the view of before, or for that of the address. */
function ask() {
  if (state.view) show({});
  else showHash();
}

function onState(now) {
  state.connection = now;
  if (now.state !== "live") state.isAsked = false;
  document.body.dataset.connection = now.state;
  renderConnection();
  renderPrice();
}

function renderConnection() {
  const { state: name, untilMs, reason } = state.connection;
  const said = { live: "Live", connecting: "Connecting …", waiting: `No connection: ${reason}.` }[name];
  setText(at("connection-text"), said);
  const seconds = Math.max(0, Math.ceil((untilMs - Date.now()) / 1000));
  setText(at("countdown"), name === "waiting" ? `Next attempt in ${seconds} s` : "");
  clearTimeout(renderConnection.timer);
  if (name === "waiting") renderConnection.timer = setTimeout(renderConnection, 500);
}

const scheme = location.protocol === "https:" ? "wss" : "ws";
const connection = new Connection(
  `${scheme}://${location.host}/live`, (message) => TAKERS[message.type]?.(message), onState,
);

// -- keys, buttons, theme ----------------------------------------------------------------------------------------------

function openPicker(text = "") {
  if (state.view) picker.open(text, state.view);
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  chart.applyTheme();
}

function toggleTheme() {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  setTheme(name);
  try {
    localStorage.setItem("theme", name);
  } catch {
    // storage is switched off: the choice lasts as long as the page
  }
}

function stepIn(names, current, by) {
  return names[(names.indexOf(current) + by + names.length) % names.length];
}

function stepSymbol(by) {
  const { symbols } = state.markets[state.view.market];
  show({ symbol: stepIn(symbols, state.view.symbol, by) });
}

function stepInterval(by) {
  const { intervals } = state.markets[state.view.market];
  const to = intervals.indexOf(state.view.interval) + by;
  if (intervals[to]) show({ interval: intervals[to] });
}

const KEYS = {
  "/": () => openPicker(),
  Enter: () => openPicker(),
  ArrowDown: () => stepSymbol(1),
  ArrowUp: () => stepSymbol(-1),
  "[": () => stepInterval(-1),
  "]": () => stepInterval(1),
  ",": () => show({ market: stepIn(Object.keys(state.markets), state.view.market, -1) }),
  ".": () => show({ market: stepIn(Object.keys(state.markets), state.view.market, 1) }),
  ArrowLeft: (event) => chart.stepBy(event.shiftKey ? -10 : -1),
  ArrowRight: (event) => chart.stepBy(event.shiftKey ? 10 : 1),
  End: () => (chart.unpin(), chart.toEnd()),
  "+": () => chart.zoom(1.25),
  "=": () => chart.zoom(1.25),
  "-": () => chart.zoom(0.8),
  "\\": () => toggleTheme(),
  "?": () => at("help").showModal(),
  Escape: () => chart.unpin(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const { key, target } = event;
  if (document.querySelector("dialog[open]")) {
    if (key === "?" && at("help").open) at("help").close();
    return; // the dialog's own keys; Escape closes it
  }
  if (target.closest("button, a") && ["Enter", " "].includes(key)) return;
  if (target.closest(".scroll") && ["ArrowUp", "ArrowDown", "End"].includes(key)) return;
  if (!(state.view?.market in state.markets) && !["?", "\\"].includes(key)) return;
  if (KEYS[key]) KEYS[key](event);
  else if (/^[1-9]$/.test(key)) {
    const name = state.markets[state.view.market].intervals[Number(key) - 1];
    if (name) show({ interval: name });
  } else if (/^[a-z]$/i.test(key)) openPicker(key.toUpperCase());
  else return;
  event.preventDefault();
}

document.addEventListener("keydown", onKey);
addEventListener("hashchange", () => Object.keys(state.markets).length && showHash());
at("symbol").addEventListener("click", () => openPicker());
at("theme").addEventListener("click", toggleTheme);
at("keys").addEventListener("click", () => at("help").showModal());
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("button.close")?.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
matchMedia("(prefers-color-scheme: light)").addEventListener("change", ({ matches }) => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // storage is switched off: nothing was chosen
  }
  if (!chosen) setTheme(matches ? "light" : "dark");
});

connection.open();
