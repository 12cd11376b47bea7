//! Reads klines and status events, a message a line as Redis or the WebSocket sends them; prints a line for each.
//! cargo run -- klines.jsonl status.jsonl

use serde::Deserialize;
use serde_json::value::RawValue;
use std::{env, error::Error, fs};

/// Exact decimals are texts as they came: hand `get()` to a decimal type. `python main.py schema` has all of it:
/// #/components/schemas/Kline.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Kline<'a> {
    symbol: &'a str,
    interval: i64, // ms, as timestamp
    timestamp: i64,
    #[serde(borrow)]
    open: &'a RawValue,
    high: &'a RawValue,
    low: &'a RawValue,
    close: &'a RawValue,
    volume: &'a RawValue,
    trade_count: i64,
    turnover: &'a RawValue,
    complete: bool,
    source: &'a str,
    revision: i64,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct KlinesEnvelope<'a> {
    exchange: &'a str,
    channel: &'a str,
    data_type: &'a str,
    #[serde(borrow)]
    data: Vec<Kline<'a>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct StatusEvent {
    exchange: String,
    event: String,
    ts: i64,
    #[serde(default)]
    symbols: Vec<String>,
    reason: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = env::args().skip(1).collect();
    for message in fs::read_to_string(&paths[0])?.lines() {
        for k in serde_json::from_str::<KlinesEnvelope>(message)?.data {
            println!("{} {} {} {} {} {}", k.symbol, k.interval, k.timestamp, k.close.get(), k.complete, k.revision);
        }
    }
    for message in fs::read_to_string(&paths[1])?.lines() {
        let event: StatusEvent = serde_json::from_str(message)?;
        println!("{} {} {}", event.event, event.ts, event.symbols.join(","));
    }
    Ok(())
}
