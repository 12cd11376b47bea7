"""Simulated exchanges: `python -m exchanges.simulated --exchange bybit --help`. Prints its two ports as one JSON line.

One engine (a seeded market, its true candles computed apart, faults on command, replay of recordings, sockets, REST)
and a dialect per exchange. REST port: the exchange's own paths, and the controls below. Bybit's accounts and orders:
bybit/PRIVATE.md. Imports nothing of the collector, so that a misreading of a protocol cannot hide by being shared.

A dialect is added as a folder of its name beside these files; nothing else changes:
  dialect.py  DIALECT, a dialect.Dialect: categories, paths, instruments, candle rule, ids, topics, texts of payloads
  service.py  open_service(world), a service.Service: answers of the sockets (subscribe, ping, errors) and of REST
How, step by step: the beginning of dialect.py.

GET  /sim/stats        counters: generated and sent per kind, category and topic, connections, faults, replay, digests;
                       the kinds that it has, whether candles of its REST have an exact turnover, requests by path
GET  /sim/published    per topic its kind, how many payloads went to every subscriber, and snapshots by connection
GET  /sim/klines       ?category=linear&symbol=&interval=<ms or M>&start=&end=  true closed candles, oldest first;
                       intervals below a minute need --true-seconds; start and end bound the candle's start (ms)

GET  /sim/symbols      ?category=linear  the names of the listed symbols

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
POST /sim/hole         {"symbol": "BTCUSDT", "category": "linear", "count": 3, "connections": n} messages of its trades
                       that are never sent: they happened, REST has them, nothing disconnects
POST /sim/restart_u    {"symbol": null} the ids of subscribed books begin anew
POST /sim/refuse       {"topics": ["publicTrade.BTCUSDT", "ETHUSDT"]} become unknown
POST /sim/allow        {"topics": [...]} are known again; without topics all are
POST /sim/list         {"category": "linear", "symbol": null} a new symbol, or a delisted one again
POST /sim/delist       {"category": "linear", "symbol": "BTCUSDT"} its topics stay subscribed, and silent
POST /sim/notice       {"s": 60} connections end in s seconds, and are told so where the exchange has words for it
POST /sim/ban          {"s": 10} handshakes answer 403; 0 lifts it
POST /sim/ratelimit    {"s": 10, "with": 10006 | 403 | 429 ...} REST refuses; 0 lifts it
POST /sim/rest_fault   {"what": "http", "status": 429, "retry_after": 3, "count": 1, "path": "/"} see rest_faults.py
POST /sim/rest_mix     {"shares": {"hang": 0.01}, "seed": 1} faults drawn at random; rest_clear ends all of them

drop, stall, silence, notice and garbage take "connections": n, "topic": name and "category": path to choose victims.
"""
