// Numbers, times and durations as the page writes them. Prices and sizes are decimal texts and stay so: no floats.

/** The digits after the point of a decimal text. */
export function decimalsOf(text) {
  const point = text.indexOf(".");
  return point < 0 ? 0 : text.length - point - 1;
}

/** A decimal text with at least so many digits after the point: zeros are added, nothing is rounded. */
export function padded(text, decimals) {
  const has = decimalsOf(text);
  if (has >= decimals) return text;
  return text + (has ? "" : ".") + "0".repeat(decimals - has);
}

/** The digits after the point that a column of decimal texts needs: as many as the exchange writes, but for the zeros
 * with which some fill up every number to eight. */
export function decimalsOfAll(texts) {
  let written = 0;
  let significant = 0;
  for (const text of texts) {
    const digits = decimalsOf(text);
    if (digits > written) written = digits;
    if (digits > significant) significant = Math.max(significant, decimalsOf(text.replace(/0+$/, "")));
  }
  return written - significant > 2 ? significant : written;
}

/** A decimal text with so many digits after the point where that takes nothing but zeros away. */
export function aligned(text, decimals) {
  const extra = decimalsOf(text) - decimals;
  if (extra <= 0) return padded(text, decimals);
  if (!/^0+$/.test(text.slice(-extra))) return text;
  return text.slice(0, decimals ? -extra : -extra - 1);
}

const shortFormat = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
const LONGEST = 8; // characters of a size that a column has room for

/** A size for a column: aligned, or with a unit where that is too long, 42490900.5 is "42.49M". */
export function sized(text, decimals) {
  const written = aligned(text, decimals);
  return written.length > LONGEST && Number(text) >= 1000 ? shortFormat.format(Number(text)) : written;
}

/** A decimal text as an integer, in units of 10^-decimals; it has no more digits than that. */
export function scaled(text, decimals) {
  return BigInt(padded(text, decimals).replace(".", ""));
}

/** The decimal text of an integer in units of 10^-decimals. */
export function unscaled(value, decimals) {
  const sign = value < 0n ? "-" : "";
  const digits = (value < 0n ? -value : value).toString().padStart(decimals + 1, "0");
  return sign + (decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits);
}

/** A count for people: 1240 is "1,240". */
export const count = new Intl.NumberFormat("en-US").format;

const compactFormat = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 });

/** A quantity in few characters: 1234567 is "1.23M". */
export function compact(value) {
  if (value !== 0 && Math.abs(value) < 1) return Number(value.toPrecision(3)).toString();
  return compactFormat.format(value);
}

/** Whether a price went up, stayed or went down, as a class name. */
export function direction(from, to) {
  const change = Number(to) - Number(from);
  return change > 0 ? "up" : change < 0 ? "down" : "";
}

/** Milliseconds as a time of day, UTC: "11:20:03". */
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

/** Milliseconds as date and time, UTC: "2026-11-30 11:20:03". */
export function moment(ms) {
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}`;
}

/** Seconds as a duration: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1).replace(/\.0$/, "")} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** An element with a class, text and children. */
export function element(tag, className = "", ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/** Set an element's text where it changed: an unchanged one is not laid out again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Set an attribute or, with null, remove it, where it changed. */
export function setAttribute(target, name, value) {
  if (value === null) target.removeAttribute(name);
  else if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}
