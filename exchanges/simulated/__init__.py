"""A simulated Bybit V5: `python -m exchanges.bybit.simulator --help`. Prints its two ports as one JSON line.

WebSocket port: /v5/public/{linear,spot,inverse,option}. REST port: GET /v5/market/* as Bybit, and the controls below.
Accounts, orders, their limits and faults, /v5/private and /v5/trade: PRIVATE.md beside this file.
Imports nothing of the collector, so that a misreading of the protocol cannot hide by being shared.

GET  /sim/stats        counters: generated and sent per kind, category and topic, connections, faults, replay, digests
GET  /sim/klines       ?category=linear&symbol=&interval=<ms or M>&start=&end=  true closed candles, oldest first;
                       intervals below a minute need --true-seconds; start and end bound the candle's start (ms)

POST /sim/rate         {"rate": n} keeps the mix, {"trades": n, "orderbook": n, ...} sets kinds; 0 is silence
POST /sim/limit        {"messages": n} stops after exactly n more generated messages; null goes on
POST /sim/flood        {"messages": n, "when_subscribed": 1} as fast as clients take them, then as before
POST /sim/replay       {} begins the file of --replay
POST /sim/stop_market  {} no data message after this; answers the final stats

POST /sim/drop         {"code": "abort" | "rst" | 1000 | 1012 | ...}
POST /sim/outage       {"s": 20} no connection lives or begins; trades go on, so candles can be repaired afterwards
POST /sim/stall        {"s": 5, "keep": true} neither data nor pongs; keep false loses what happens meanwhile
POST /sim/garbage      {"what": see faults.GARBAGE, "count": 1, "topic": "publicTrade.BTCUSDT"}
POST /sim/duplicate    {"count": 1, "topic": null} the next messages of every trades topic (or of topic) come twice
POST /sim/reorder      {"count": 1, "topic": null} the next messages change places with their successors
POST /sim/garble       {"what": see faults.UNREADABLE, "count": 1, "topic": null} the next messages leave unreadable
POST /sim/silence      {"topic": null, "off": false} trades of living, subscribed connections are not sent any more
POST /sim/restart_u    {"symbol": null} u == 1 snapshots on subscribed books
POST /sim/refuse       {"topics": ["publicTrade.BTCUSDT", "ETHUSDT"]} become unknown
POST /sim/allow        {"topics": [...]} are known again; without topics all are
POST /sim/ban          {"s": 10} handshakes answer 403; 0 lifts it
POST /sim/ratelimit    {"s": 10, "with": 10006 | 403} REST refuses; 0 lifts it

drop, stall, silence and garbage take "connections": n, "topic": name and "category": name to choose their victims.
"""
