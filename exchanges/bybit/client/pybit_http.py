"""pybit 5.17 as the catalogue of endpoints and the signer of requests; requests are sent by transport.py.

With calls.py the one file of the client that leans on what is private in pybit's HTTP; held by
tests/unit/exchanges/bybit/client/test_pybit_http_contract.py. Thread safe: nothing changes after it is made.
"""

import inspect
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pybit.unified_trading import HTTP

from exchanges.bybit.client.calls import Call, Keys, Request
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.names import Param, body_values, camel_names, query_values


class Catalogue(HTTP):  # type: ignore[misc]  # pybit has no types
    """pybit's methods, overridden to return the request instead of sending it. Holds no key."""

    def __init__(self) -> None:
        super().__init__(max_retries=1, demo=True)  # demo: pybit refuses to name the endpoint for demo funds otherwise
        self.client.close()
        self.endpoint = ""  # paths only: the transport adds the host

    def call(self, name: str, params: Mapping[str, Param]) -> Call:
        """The request of pybit's method `name`; snake_case names become Bybit's. Raises RequestError."""
        if name not in ENDPOINTS:
            raise RequestError(f"pybit has no endpoint {name!r}", params=params)
        try:
            found: Call = getattr(self, name)(**(params if name in UPLOADS else camel_names(params)))
        except (AttributeError, TypeError, ValueError) as error:  # get_server_time takes none; an upload needs its file
            raise RequestError(f"{name}: {error}", params=params) from error
        return found

    def _submit_request(
        self, method: str = "GET", path: str = "", query: dict[str, Any] | None = None, auth: bool = False
    ) -> Call:
        """Override: every endpoint of pybit ends here."""
        return make_call(method, urlsplit(path).path, query or {}, auth)

    def _submit_file_request(self, path: str = "", query: dict[str, Any] | None = None, auth: bool = True) -> Call:
        """Override: uploads end here."""
        return Call("POST", urlsplit(path).path, {}, auth, file=self.prepare_file_payload(query or {}))


_SUBMITS = {"_submit_request", "_submit_file_request"}

_CALLED_BY = {name: {*function.__code__.co_names} for name, function in inspect.getmembers(HTTP, inspect.isfunction)}

ENDPOINTS = frozenset(name for name, called in _CALLED_BY.items() if _SUBMITS & called)
"""Names of pybit's methods that are endpoints."""

UPLOADS = frozenset(name for name, called in _CALLED_BY.items() if "_submit_file_request" in called)
"""Those whose parameters are pybit's own: upload_file, filename."""


def make_call(method: str, path: str, params: Mapping[str, Param], is_signed: bool) -> Call:
    """A call of any path, values as Bybit reads them; names must be Bybit's already."""
    return Call(method, path, (query_values if method == "GET" else body_values)(params), is_signed)


def payload_of(method: str, values: Mapping[str, Any]) -> str:
    """The text that is signed and sent: query string of a GET, body of a POST."""
    return str(HTTP.prepare_payload(method, dict(values)))


def make_request(call: Call, keys: Keys, timestamp_ms: int, recv_window_ms: int) -> Request:
    """The request as it leaves: serialised the way pybit does, signed where it must be."""
    content_type = "application/json"
    if call.file is not None:
        body, content_type = call.file
        text, query = body.decode("latin-1"), ""
    else:
        text = payload_of(call.method, call.params)
        query = f"?{text}" if call.is_read and text else ""
        body = b"" if call.is_read else text.encode()
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    if call.is_signed:
        headers |= _signature(text, call.file is not None, keys, timestamp_ms, recv_window_ms)
    return Request(call.method, call.path + query, body, headers)


def _signature(text: str, is_binary: bool, keys: Keys, timestamp_ms: int, recv_window_ms: int) -> dict[str, str]:
    signer = HTTP.__new__(HTTP)  # no session, no logger: only what signing reads
    signer.api_key, signer.api_secret, signer.rsa_authentication = keys.api_key, keys.api_secret, keys.rsa
    sign = signer._auth_binary if is_binary else signer._auth
    signature = sign(text.encode("latin-1") if is_binary else text, recv_window_ms, timestamp_ms)
    return {
        "X-BAPI-API-KEY": keys.api_key,
        "X-BAPI-SIGN": signature,
        "X-BAPI-SIGN-TYPE": "2",
        "X-BAPI-TIMESTAMP": str(timestamp_ms),
        "X-BAPI-RECV-WINDOW": str(recv_window_ms),
    }
