"""What the collector answers over HTTP: klines of its store, its journal, what it collects, whether it is ready.

Each call is one request, on the calling thread.
"""

import base64
import contextlib
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .records import (
    Envelope,
    FeedError,
    Interval,
    Kline,
    NoHistoryError,
    UnknownSymbolError,
    UnreachableError,
    read_envelope,
    read_json,
)

PART = 1_000  # klines that an answer has at most
ABOUT_S = 1.0  # symbols come and go, at the start of a collector above all
LOOPBACK = ("localhost", "127.0.0.1", "::1")
START_IT = "start the collector (make run), or name its address: Feed(..., http='http://host:9500')"


class Api:
    """A collector's port. `url`: http://127.0.0.1:9500, with user:key@ where it asks for the login."""

    def __init__(self, url: str, user: str = "", key: str = "", timeout_s: float = 20.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError(f"{url!r} is no HTTP address, as http://127.0.0.1:9500 is.")
        user, key = (
            user or urllib.parse.unquote(parts.username or ""),
            key or urllib.parse.unquote(parts.password or ""),
        )
        self.base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.headers = {}
        if user:
            self.headers["Authorization"] = f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"
        self._timeout_s = timeout_s
        handlers = [urllib.request.ProxyHandler({})] if parts.hostname in LOOPBACK else []
        self._opener = urllib.request.build_opener(*handlers)
        self._about: tuple[float, dict[str, Any] | None] = 0.0, None

    @property
    def live_url(self) -> str:
        """Where the socket of pages is."""
        return f"{self.base.replace('http', 'ws', 1)}/live"

    def get(self, path: str, *, accepted: int = 200, **query: object) -> bytes:
        """Return an answer's body; UnreachableError, or FeedError with the collector's sentence where it refuses.

        `accepted` is a status of refusals that is an answer, too.
        """
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.base}{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")
        request = urllib.request.Request(url, headers=self.headers)  # noqa: S310 - http and https alone, see above
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == accepted:
                    return bytes(error.read())
                raise self._refusal(error.code, error.read()) from None
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"No collector answers at {self.base} ({reason}): {START_IT}.") from None

    def about(self) -> dict[str, Any]:
        """Return what is collected, a second old at most: exchange, markets, their symbols and intervals."""
        asked_s, about = self._about
        if about is None or time.monotonic() - asked_s > ABOUT_S:
            about = self._object("/api/", "markets")
            self._about = time.monotonic(), about
        return about

    def ready(self) -> dict[str, Any]:
        """Return the answer of /readyz."""
        return self._object("/readyz", "ready", accepted=503)

    def journal(self, after: int = -1, last: int = 100) -> tuple[list[dict[str, Any]], int]:
        """Return events after an id (-1: the newest), oldest first, and the id to ask from next."""
        answer = self._object("/api/journal", "data", since=after, last=last)
        return answer["data"], answer["next"]

    def klines(
        self,
        symbol: str,
        interval: Interval,
        *,
        market: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        last: int | None = None,
        is_filled: bool = True,
    ) -> tuple[list[Kline], str]:
        """Return klines with start_ms <= start < end_ms, oldest first (`last`: the newest), and why some are missing.

        `is_filled`: where the collector has none, it takes the exchange's candles, the newest 500.
        """
        asked = {
            "market": market,
            "symbol": symbol,
            "interval": interval.name,
            "fill": "exchange" if is_filled else None,
        }
        if last is None and start_ms is not None:
            return self._forward(asked, start_ms, end_ms)
        left, parts, note = PART if last is None else last, [], ""
        while left > 0:
            count = min(left, PART)
            part = self._part(asked, last=count, start=start_ms, end=end_ms)
            parts.append(part.data)
            note, left = note or part.note, left - len(part.data)
            if len(part.data) < count:
                break
            end_ms = part.data[0].timestamp
        return [kline for data in reversed(parts) for kline in data], note

    def _forward(self, asked: dict[str, Any], start_ms: int | None, end_ms: int | None) -> tuple[list[Kline], str]:
        found: list[Kline] = []
        note = ""
        while start_ms is not None:
            part = self._part(asked, start=start_ms, end=end_ms)
            found += part.data
            note, start_ms = note or part.note, part.next
        return found, note

    def _part(self, asked: dict[str, Any], **span: int | None) -> Envelope:
        query: dict[str, Any] = {**asked, **span}
        body = self.get("/api/klines", **query)
        try:
            return read_envelope(body)
        except ValueError:
            raise self._not_a_collector() from None

    def _object(self, path: str, has: str, **query: Any) -> dict[str, Any]:
        """Return an answer that is an object with a field."""
        with contextlib.suppress(ValueError):
            answer = read_json(self.get(path, **query))
            if isinstance(answer, dict) and has in answer:
                return answer
        raise self._not_a_collector()

    def _not_a_collector(self) -> FeedError:
        return FeedError(f"What listens at {self.base} is no collector, or one of another version.")

    def _refusal(self, status: int, body: bytes) -> FeedError:
        try:
            answer = read_json(body)
            text = str(answer["error"])
        except (ValueError, LookupError, TypeError):
            answer, text = {}, body.decode(errors="replace").strip()[:300]
        if status == 401:
            return FeedError(f"{self.base} asks for the login: Feed(..., user=WSS_AUTH_USER, key=WSS_AUTH_KEY).")
        if status == 503 and "KLINE_STORE" in text:
            return NoHistoryError(f"{self.base}: {text} Feed(..., http=None) reads live klines alone.")
        if status == 404 and isinstance(answer, dict) and "symbols" in answer:
            return UnknownSymbolError(text, answer["symbols"])
        if status == 503:
            return UnreachableError(f"{self.base}, not now: {text}")
        said = text if "error" in answer else f"status {status}, {text}"
        return FeedError(f"{self.base}: {said}")
