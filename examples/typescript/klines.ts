// Reads klines and status events, a message a line as Redis or the WebSocket sends them; prints a line for each.
// npm install typescript @types/node; npx tsc klines.ts --types node --ignoreConfig; node klines.js klines.jsonl status.jsonl
import { readFileSync } from "node:fs";

/** `python main.py schema` has all of it: #/components/schemas/Kline. */
interface Kline {
  symbol: string;
  interval: number; // ms, as timestamp
  timestamp: number;
  open: string; // exact decimals: as texts, for a number of JavaScript has 15 digits
  high: string;
  low: string;
  close: string;
  volume: string;
  trade_count: number;
  turnover: string;
  complete: boolean;
  source: "trades" | "exchange";
  revision: number;
}
interface KlinesEnvelope {
  exchange: string;
  channel: string;
  data_type: "klines";
  data: Kline[];
}
interface StatusEvent {
  exchange: string;
  event: string;
  ts: number;
  symbols?: string[];
  reason?: string;
}

const DECIMALS = /"(open|high|low|close|volume|turnover)":(-?[0-9.]+)/g;

function readKlines(message: string): KlinesEnvelope {
  return JSON.parse(message.replace(DECIMALS, '"$1":"$2"'));
}

const lines = (path: string) => readFileSync(path, "utf8").split("\n").filter(Boolean);

for (const message of lines(process.argv[2])) {
  for (const kline of readKlines(message).data) {
    console.log(kline.symbol, kline.interval, kline.timestamp, kline.close, kline.complete, kline.revision);
  }
}
for (const message of lines(process.argv[3])) {
  const event: StatusEvent = JSON.parse(message);
  console.log(event.event, event.ts, (event.symbols ?? []).join(","));
}
