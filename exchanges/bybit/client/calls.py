"""What is sent to Bybit and who signs it, as records. Imports nothing of pybit, for a collector needs none of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request before it is signed. `params` are Bybit's names; `file` a body that is no JSON."""

    method: str
    path: str
    params: Mapping[str, Any]
    is_signed: bool
    file: tuple[bytes, str] | None = None

    @property
    def endpoint(self) -> str:
        """Such as "GET /v5/market/time"."""
        return f"{self.method} {self.path}"

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing at the exchange."""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it leaves; `headers` hold the key and are never logged."""

    method: str
    path_and_query: str
    body: bytes
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """API key and secret; the secret is a PEM text where `rsa` is set. Neither is shown."""

    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    rsa: bool = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.api_key and self.api_secret)

    def sign(self, text: str) -> str:
        """HMAC-SHA256 as hex, or RSA-SHA256 as base64."""
        from pybit._http_manager import generate_signature  # late: pybit and its cryptography take a twelfth of a start

        return str(generate_signature(self.rsa, self.api_secret, text))
