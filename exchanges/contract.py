"""How an exchange joins: what its folder gives, and what it is given (model/ports.py, model/records.py).

How to add an exchange
----------------------
1. Make a folder `exchanges/<venue>/` with a feed class that satisfies `Feed`. Its `run` is a plain function of
   the calling (stream) thread: it blocks until the connection ends.
2. In `run`: build the topics; `link = dial(url)` (None: stopped, return); send the subscriptions with
   `link.send`; `link.pump(session, ...)` with an object that satisfies `Receiver`; `link.close()` in the end.
   Reading, frames, pings, the connect budget, backoff and stopping are done behind `dial`.
3. The session sets `prefix` to how the subscribed kind's messages begin. They go to the callback as they are
   and are not looked at again; to its `put_all` many at once, where it has one. Everything else arrives at
   `other`: acknowledgements, pongs, errors.
4. Call `link.succeeded()` at the first acknowledgement or data: until then the stream counts as failed.
5. A kind whose callback has a `mark` gets a `FeedMarker` "up" before the first data of its symbols and "down"
   when the connection ends, on the stream thread, between the payloads where it happened.
6. Raise ConnectionError (a subclass) for what a new connection may heal, ValueError for a wrong request.
7. Hand faults to `report(cause, sample)`; keep the venue's limits as named constants with the page's name.
8. Register the class by its EXCHANGE name in exchanges/registry.py. Nothing else changes: packages do not
   import each other, so streams/ is only known through these protocols.
"""
