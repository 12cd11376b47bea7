// A series of candles that shows what is not certain: incomplete ones hatched, repaired and revised ones marked.

export const INCOMPLETE = 1;
export const REPAIRED = 2;
export const REVISED = 4;
export const OPEN = 8;

const TILE = 6; // CSS pixels from one stripe of a hatching to the next

/** A tile of diagonal stripes, as a pattern to fill with. */
function stripes(context, color, ratio, width) {
  const size = Math.max(4, Math.round(TILE * ratio));
  const tile = new OffscreenCanvas(size, size);
  const pen = tile.getContext("2d");
  pen.strokeStyle = color;
  pen.lineWidth = Math.max(1, width * ratio);
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift - 1, size + 1);
    pen.lineTo(shift + size + 1, -1);
    pen.stroke();
  }
  return context.createPattern(tile, "repeat");
}

class Renderer {
  constructor() {
    this.data = null;
    this.options = null;
  }

  draw(target, toY) {
    target.useBitmapCoordinateSpace((scope) => this.drawIn(scope, toY));
  }

  drawIn({ context, horizontalPixelRatio: across, verticalPixelRatio: down, bitmapSize }, toY) {
    const { bars, barSpacing, visibleRange } = this.data;
    if (!visibleRange) return;
    const { up, down: falling, incomplete, repaired, revised, background } = this.options;
    const patterns = new Map();
    const striped = (color, thickness) => {
      if (!patterns.has(color)) patterns.set(color, stripes(context, color, across, thickness));
      return patterns.get(color);
    };
    const line = Math.max(1, Math.floor(across));
    // odd widths with a wick of one pixel stand in the middle
    let width = Math.max(1, Math.floor(barSpacing * across * (barSpacing < 4 ? 0.9 : 0.76)));
    if (width > 1 && (width - line) % 2) width -= 1;
    for (let i = Math.max(0, visibleRange.from); i < visibleRange.to; i++) {
      const { x, originalData: candle } = bars[i];
      const middle = Math.round(x * across);
      const left = middle - Math.floor(width / 2);
      const y = (price) => Math.round(toY(price) * down);
      const [high, low] = [y(candle.high), y(candle.low)];
      const top = y(Math.max(candle.open, candle.close));
      const height = Math.max(line, y(Math.min(candle.open, candle.close)) - top);
      const color = candle.close >= candle.open ? up : falling;
      const isIncomplete = candle.flags & INCOMPLETE;
      if (isIncomplete) {
        const from = Math.round((x - barSpacing / 2) * across);
        context.fillStyle = striped(incomplete, 1);
        context.fillRect(from, 0, Math.round((x + barSpacing / 2) * across) - from, bitmapSize.height);
      }
      context.fillStyle = color;
      context.fillRect(middle - Math.floor(line / 2), high, line, Math.max(line, low - high));
      if (!isIncomplete || width < 3 * line) {
        context.fillRect(left, top, width, height);
      } else {
        context.fillStyle = background;
        context.fillRect(left, top, width, height);
        context.fillStyle = striped(color, 1.5);
        context.fillRect(left, top, width, height);
        context.strokeStyle = color;
        context.lineWidth = line;
        context.strokeRect(left + line / 2, top + line / 2, width - line, Math.max(0, height - line));
      }
      if (candle.flags & (REPAIRED | REVISED)) {
        context.fillStyle = candle.flags & REPAIRED ? repaired : revised;
        diamond(context, middle, low + 8 * down, Math.min(4, Math.max(2, barSpacing / 2)) * across);
      }
    }
  }
}

function diamond(context, x, y, radius) {
  context.beginPath();
  context.moveTo(x, y - radius);
  context.lineTo(x + radius, y);
  context.lineTo(x, y + radius);
  context.lineTo(x - radius, y);
  context.fill();
}

/** The view of a custom series, its items {time, open, high, low, close, flags, ...} with numbers as prices. */
export class CandleView {
  constructor() {
    this.drawn = new Renderer();
  }

  renderer() {
    return this.drawn;
  }

  update(data, options) {
    this.drawn.data = data;
    this.drawn.options = options;
  }

  priceValueBuilder({ high, low, close }) {
    return [high, low, close];
  }

  isWhitespace(item) {
    return item.close === undefined;
  }

  defaultOptions() {
    return {};
  }
}
