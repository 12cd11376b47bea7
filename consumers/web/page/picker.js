// The search for a symbol: of all markets, by a few letters, with arrows and Enter, or by a tap.

import { element, setText } from "./format.js";

/** Return the entries that contain `text`: equal ones first, then those that begin with it; each keeps its place. */
export function found(entries, text, market) {
  const wanted = text.trim().toUpperCase();
  const ranks = [[], [], [], []];
  for (const entry of entries) {
    const at = entry.upper.indexOf(wanted);
    if (at < 0) continue;
    const isElsewhere = entry.market !== market;
    ranks[entry.upper === wanted ? 0 : at || isElsewhere ? (at ? 3 : 2) : 1].push(entry);
  }
  return ranks.flat();
}

export class Picker {
  /** `place` has the elements: dialog, input, list, count. `onPick({market, symbol})` takes the choice. */
  constructor(place, onPick) {
    this.place = place;
    this.onPick = onPick;
    this.entries = [];
    this.matches = [];
    this.active = 0;
    place.input.addEventListener("input", () => this.search());
    place.dialog.addEventListener("keydown", (event) => this.onKey(event));
    place.dialog.addEventListener("click", (event) => event.target === place.dialog && place.dialog.close());
    place.list.addEventListener("click", (event) => {
      const option = event.target.closest("li");
      if (option) this.pick(Number(option.dataset.index));
    });
  }

  /** Take the symbols of each market, as `hello` has them. */
  setMarkets(markets) {
    this.entries = Object.entries(markets).flatMap(([market, { symbols }]) =>
      symbols.map((symbol) => ({ market, symbol, upper: symbol.toUpperCase() })));
    this.isSingle = Object.keys(markets).length < 2;
    if (this.place.dialog.open) this.search();
  }

  open(text, current) {
    this.current = current;
    this.place.input.value = text;
    if (!this.place.dialog.open) this.place.dialog.showModal();
    this.search();
    this.place.input.focus();
  }

  search() {
    const { input, list, count } = this.place;
    this.matches = found(this.entries, input.value, this.current.market);
    list.replaceChildren(...this.matches.map((entry, i) => this.option(entry, i)));
    const isHere = ({ market, symbol }) => market === this.current.market && symbol === this.current.symbol;
    this.activate(input.value.trim() ? 0 : Math.max(0, this.matches.findIndex(isHere)));
    setText(count, this.matches.length ? `${this.matches.length} of ${this.entries.length}` : "No symbol has these letters");
  }

  option({ market, symbol }, index) {
    const made = element("li", "", element("span", "symbol", symbol));
    if (!this.isSingle) made.append(element("span", "market", market));
    made.id = `option-${index}`;
    made.dataset.index = index;
    made.setAttribute("role", "option");
    return made;
  }

  activate(index) {
    const { list, input } = this.place;
    list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = Math.max(0, Math.min(this.matches.length - 1, index));
    const chosen = list.children[this.active];
    if (!chosen) return input.removeAttribute("aria-activedescendant");
    chosen.setAttribute("aria-selected", "true");
    input.setAttribute("aria-activedescendant", chosen.id);
    chosen.scrollIntoView({ block: "nearest" });
  }

  onKey(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (event.key in steps) this.activate(this.active + steps[event.key]);
    else if (event.key === "Enter") this.pick(this.active);
    else return;
    event.preventDefault();
  }

  pick(index) {
    const entry = this.matches[index];
    if (!entry) return;
    this.place.dialog.close();
    this.onPick({ market: entry.market, symbol: entry.symbol });
  }
}
