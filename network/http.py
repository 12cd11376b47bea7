"""A requests.Session for REST of one exchange: a deadline for whole requests, a bound for answers, no redirects.

Proxies and certificates are those of the streams. Blocks the calling thread; any number of threads may call.
"""

import socket
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from threading import Event, local
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from network.certificates import client_context
from network.deadline import Deadline
from network.proxies import Proxy, parse_proxy, proxy_of
from network.sockets import open_socket

MAX_BODY_BYTES = (
    4 * 1024 * 1024
)  # after inflating, unless asked; the largest known answer of an exchange is about 1 MiB
READ_BYTES = 64 * 1024

# `deadline` of the request that this thread sends: a pool makes its connections without a way to hand one in.
_of_thread = local()


class BodyTooLargeError(requests.RequestException):
    """An answer is larger than the session allows."""


class Session(requests.Session):
    """Follows no redirect, keeps no cookie, reads neither .netrc nor variables by itself."""

    def __init__(
        self,
        limit_s: float,
        pool_size: int,
        stop: Event | None = None,
        proxies: Mapping[str, str] | None = None,
        *,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """`limit_s` is for a whole request; `stop` ends requests on their way. Raises CertificatesError."""
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, BoundedAdapter(limit_s, pool_size, stop, proxies, most_bytes))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Override: no redirect is followed."""


class BoundedAdapter(HTTPAdapter):
    """Sends requests within one deadline each and reads their bodies up to `most_bytes`."""

    def __init__(
        self,
        limit_s: float,
        pool_size: int,
        stop: Event | None = None,
        proxies: Mapping[str, str] | None = None,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.limit_s, self._stop, self._proxies, self._most_bytes = limit_s, stop, dict(proxies or {}), most_bytes
        self._tls = client_context()
        super().__init__(pool_connections=1, pool_maxsize=pool_size)

    def send(self, request: requests.PreparedRequest, *_: Any, timeout: Any = None, **__: Any) -> requests.Response:
        """One attempt, body included; raises requests.RequestException."""
        proxy = self._proxy_of(request)
        proxies = {} if proxy is None else {"all": proxy.url}
        deadline = Deadline(self.limit_s, self._stop)
        _of_thread.deadline = deadline
        try:
            with deadline:
                response = super().send(request, stream=True, timeout=timeout, proxies=proxies)
                response._content = read_body(response, self._most_bytes)
                deadline.left_s()  # a body that ends with the connection may have been cut off here
                response._content_consumed = True  # type: ignore[attr-defined]
                return response
        except (requests.RequestException, HTTPError, OSError) as error:
            if deadline.problem is None or isinstance(error, requests.ConnectTimeout):
                raise
            raise requests.ReadTimeout(f"{deadline.problem} ({type(error).__name__})", request=request) from error
        finally:
            _of_thread.deadline = None

    def _proxy_of(self, request: requests.PreparedRequest) -> Proxy | None:
        try:
            return proxy_of(str(request.url), self._proxies)
        except ValueError as error:
            raise requests.exceptions.InvalidProxyURL(str(error), request=request) from error

    # -- what requests calls ---------------------------------------------------------------------------------

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Override: connections are opened here."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = _pools()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Override: connections are opened here, through SOCKS as well."""
        if proxy not in self.proxy_manager:
            parsed = parse_proxy(proxy, "the proxy")
            if parsed.is_socks:
                size = {"maxsize": self._pool_maxsize, "block": self._pool_block}  # type: ignore[attr-defined]
                manager = PoolManager(self._pool_connections, **size)  # type: ignore[attr-defined]
                manager.pool_classes_by_scheme = _pools(parsed)
                self.proxy_manager[proxy] = manager
            else:
                super().proxy_manager_for(proxy, **options).pool_classes_by_scheme = _pools()
        return self.proxy_manager[proxy]

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Override: requests encodes in Latin-1 only."""
        authorization = parse_proxy(proxy, "the proxy").authorization
        return {} if authorization is None else {"Proxy-Authorization": authorization}

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Override: one context, the streams' own."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Override: requests would add certifi's certificates to those that were named."""


def read_body(response: requests.Response, most_bytes: int = MAX_BODY_BYTES) -> bytes:
    """All of an answer's body, inflated; raises BodyTooLargeError before it takes much memory."""
    parts: list[bytes] = []
    size = 0
    for part in response.iter_content(READ_BYTES):
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            response.close()
            raise BodyTooLargeError(f"the answer is larger than {most_bytes} bytes", response=response)
    return b"".join(parts)


class _Opened:
    """Opens sockets as the streams do, watched by the deadline of the calling thread's request."""

    socks: Proxy | None = None

    def _new_conn(self: Any) -> socket.socket:
        whole: Deadline = _of_thread.deadline
        timeout_s = self.timeout if isinstance(self.timeout, int | float) else whole.left_s()
        deadline = Deadline(min(timeout_s, whole.left_s()), whole.stop)
        try:
            with deadline:
                sock = open_socket(self._dns_host, self.port, deadline, self.socks)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except OSError as error:
            text = f"no connection to {self.host}: {deadline.problem or error}"
            if deadline.problem or isinstance(error, TimeoutError):
                raise ConnectTimeoutError(self, text) from error
            raise NewConnectionError(self, text) from error
        sock.settimeout(timeout_s)
        whole.watch(sock)  # a proxy may drip its answer
        return sock

    def connect(self: Any) -> None:
        super().connect()  # type: ignore[misc]
        _of_thread.deadline.watch(self.sock)

    def request(self: Any, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:  # a kept connection
            _of_thread.deadline.watch(self.sock)
        super().request(*arguments, **options)  # type: ignore[misc]


class _Http(_Opened, HTTPConnection):
    pass


class _Https(_Opened, HTTPSConnection):
    pass


def _pools(socks: Proxy | None = None) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools of such connections, through a SOCKS proxy where there is one."""
    kinds = {"http": (HTTPConnectionPool, _Http), "https": (HTTPSConnectionPool, _Https)}
    return {
        scheme: type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, (kind,), {"socks": socks})})
        for scheme, (pool, kind) in kinds.items()
    }
