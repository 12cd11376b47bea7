"""Fan-out to clients: those with equal filters and codings are a group and share every byte.

The event loop's thread. A message costs one lookup and one append per group; joined frames go to the clients of a
group in one write each, at most every few milliseconds. Never waits for a client.
"""

import asyncio
from collections.abc import Collection, Iterable
from typing import Protocol

from consumers.web.client import CHUNK_BYTES, Chunk, Client
from consumers.web.frames import Coding, Message

FLUSH_GAP_S = 0.002  # messages of so long leave together, at least
FLUSH_REST = 3  # times what a flush took is what passes before the next: with many clients fewer and larger writes
FLUSH_GAP_MAX_S = 0.05
ROUTES_LIMIT = 200_000  # topics remembered; beyond them, a flood of names, all are looked up anew


class Filter(Protocol):
    """The topics that a client wants; equal filters make one group."""

    def matches(self, key: str) -> bool: ...
    def __hash__(self) -> int: ...


class Group:
    """Clients with equal filters and codings, and the messages to be sent to them next."""

    __slots__ = ("clients", "coding", "pending", "wants")

    def __init__(self, wants: Filter, coding: Coding) -> None:
        self.wants = wants
        self.coding = coding
        self.clients: set[Client] = set()
        self.pending: list[Message] = []

    def take_chunks(self) -> list[Chunk]:
        """Take out what is pending as pieces of frames."""
        messages, self.pending = self.pending, []
        chunks: list[Chunk] = []
        frames: list[bytes] = []
        begin = size = 0
        for end, message in enumerate(messages, 1):
            frames.append(message.frame(self.coding))
            size += len(frames[-1])
            if size >= CHUNK_BYTES or end == len(messages):
                chunks.append((b"".join(frames), messages[begin:end]))
                frames, begin, size = [], end, 0
        return chunks


class Fanout:
    """The groups, and which of them want each topic."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Filter, Coding], Group] = {}
        self._group_of: dict[Client, Group] = {}
        self._routes: dict[str, dict[Group, None]] = {}  # insertion-ordered sets
        self._dirty: set[Group] = set()
        self._timer: asyncio.Handle | None = None
        self._not_before_s = 0.0

    def __len__(self) -> int:
        return len(self._groups)

    def clients(self) -> Iterable[Client]:
        """Every client in a group."""
        return [client for group in self._groups.values() for client in group.clients]

    def move(self, client: Client, wants: Filter) -> None:
        """Put the client into the group of a filter; what is pending for it is sent first."""
        self.leave(client)
        group = self._groups.get((wants, client.coding))
        if group is None:
            group = self._groups[wants, client.coding] = Group(wants, client.coding)
            for key, groups in self._routes.items():
                if wants.matches(key):
                    groups[group] = None
        else:
            self._flush(group)  # the new client is not in it yet
        group.clients.add(client)
        self._group_of[client] = group

    def leave(self, client: Client) -> None:
        """Take the client out of its group; what is pending for it is sent first."""
        group = self._group_of.pop(client, None)
        if group is None:
            return
        self._flush(group)
        group.clients.discard(client)
        if not group.clients:
            del self._groups[group.wants, group.coding]
            for groups in self._routes.values():
                groups.pop(group, None)

    def wanting(self, key: str) -> Collection[Group]:
        """Return the groups that want a topic; not to be changed."""
        groups = self._routes.get(key)
        if groups is None:
            if len(self._routes) >= ROUTES_LIMIT:
                self._routes.clear()
            groups = dict.fromkeys(group for group in self._groups.values() if group.wants.matches(key))
            self._routes[key] = groups
        return groups

    def put(self, group: Group, message: Message) -> None:
        """Queue a message for the clients of a group, and schedule the flush."""
        group.pending.append(message)
        self._dirty.add(group)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            is_due = loop.time() >= self._not_before_s
            self._timer = loop.call_soon(self.flush) if is_due else loop.call_at(self._not_before_s, self.flush)

    def flush(self) -> None:
        """Write what is pending; the longer it takes, the later is the next flush."""
        self._timer = None
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        for group in list(self._dirty):
            self._flush(group)
        end_s = loop.time()
        self._not_before_s = end_s + min(max(FLUSH_GAP_S, FLUSH_REST * (end_s - begin_s)), FLUSH_GAP_MAX_S)

    def _flush(self, group: Group) -> None:
        self._dirty.discard(group)
        if group.pending:
            chunks = group.take_chunks()
            for client in list(group.clients):
                client.send_chunks(chunks)
