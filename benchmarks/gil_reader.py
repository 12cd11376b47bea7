"""Who holds the GIL of another process, and where: read from its memory, without stopping it and without its GIL.

Linux, CPython 3.11 and newer with a GIL. The other process runs the interpreter of this one and is its child (or may be
traced): where the interpreter keeps what is asked for is found out in this process, by values that are known here.
"""

import ctypes
import functools
import gc
import os
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import NamedTuple

MARK_US = 4_321  # a switch interval that nobody has: next to it lies who holds the GIL
FRAME_BYTES, STATE_BYTES = 96, 512  # of a frame and of a thread's state: enough for what is looked for
FRAMES_MAX = 60
TAG = ~0b111  # 3.14 keeps marks in the low bits of a pointer
STRING_HEAD = sys.getsizeof("") - 1  # bytes before the characters of an ASCII string
CODE_HEAD = CodeType.__basicsize__  # bytes of a code object before its instructions
COLLECTIONS = 8  # of the garbage collector, to find its flag


class Holder(NamedTuple):
    """A thread's state (an address), and a number that changes whenever another thread takes the GIL."""

    state: int
    switches: int


class Place(NamedTuple):
    """One frame of a stack; the line is 0 where the source is not there."""

    file: str
    function: str
    line: int


@dataclass(frozen=True)
class Layout:
    """Where things lie, in bytes: `gil` and `collecting` from the runtime's beginning, all others from their object's.

    `frame`: from a thread's state to its frame, one pointer after another.
    """

    gil: int
    collecting: int | None
    native_id: int
    frame: tuple[int, ...]
    code: int
    instruction: int
    previous: int
    filename: int
    qualname: int


class Memory:
    """The memory of a process. What cannot be read is empty."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._call = ctypes.PyDLL(
            None
        ).process_vm_readv  # keeps the GIL: a process that reads itself holds it meanwhile
        self._call.restype = ctypes.c_ssize_t
        self._buffer = (ctypes.c_char * (1 << 20))()
        self._local = (ctypes.c_size_t * 2)(ctypes.addressof(self._buffer), 0)
        self._remote = (ctypes.c_size_t * 2)()

    def read(self, address: int, size: int) -> bytes:
        """Read so many bytes at an address."""
        self._local[1] = self._remote[1] = size
        self._remote[0] = address
        done = self._call(self._pid, self._local, 1, self._remote, 1, 0)
        return bytes(memoryview(self._buffer)[:size]) if done == size else b""

    def words(self, address: int, size: int) -> tuple[int, ...]:
        """Read so many bytes as words of 64 bits."""
        data = self.read(address, size)
        return struct.unpack(f"<{len(data) // 8}Q", data)


def discover() -> Layout:
    """Find the layout of this process's interpreter; RuntimeError where something is not found just once."""
    memory = Memory(os.getpid())
    runtime, size = _runtime(os.getpid())
    get_state = ctypes.pythonapi.PyThreadState_Get
    get_state.restype = ctypes.c_void_p
    state = int(get_state())
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(MARK_US / 1e6)
    try:
        words = memory.words(runtime, size)
    finally:
        sys.setswitchinterval(usual_s)
    found = [
        i for i in range(len(words) - 3) if words[i : i + 2] == (MARK_US, state) and words[i + 2] & 0xFFFFFFFF == 1
    ]
    own = memory.words(state, STATE_BYTES)
    ids = (threading.get_ident(), threading.get_native_id())
    native = [i + 1 for i in range(len(own) - 1) if own[i : i + 2] == ids]
    code = Memory.read.__code__
    names = memory.words(id(code), CODE_HEAD)
    frame, code_at, instruction, previous = _frame_layout(memory, state)
    return Layout(
        gil=_only("the GIL", found) * 8,
        collecting=_collecting(memory, runtime, size),
        native_id=_only("a thread's id", native) * 8,
        frame=frame,
        code=code_at,
        instruction=instruction,
        previous=previous,
        filename=_only("a file's name", [i for i, word in enumerate(names) if word == id(code.co_filename)]) * 8,
        qualname=_only("a function's name", [i for i, word in enumerate(names) if word == id(code.co_qualname)]) * 8,
    )


def _only(what: str, found: Sequence[int]) -> int:
    if len(found) != 1:
        raise RuntimeError(f"{what} was found {len(found)} times: this interpreter is laid out in another way")
    return found[0]


def _frame_layout(memory: Memory, state: int) -> tuple[tuple[int, ...], int, int, int]:
    """The way from a thread's state to the frame of Memory.read, which runs while its own process is read."""
    code, caller = Memory.read.__code__, Memory.words.__code__
    begin, end = id(code) + CODE_HEAD, id(code) + CODE_HEAD + len(code.co_code)
    for at, word in enumerate(memory.words(state, STATE_BYTES)):
        behind = memory.words(word & TAG, 24) if word else ()
        for path, address in [((at * 8,), word), *(((at * 8, i * 8), inner) for i, inner in enumerate(behind))]:
            words = memory.words(address & TAG, FRAME_BYTES) if address else ()
            codes = [i for i, each in enumerate(words) if each & TAG == id(code)]
            instructions = [i for i, each in enumerate(words) if begin <= each < end]
            if not codes or not instructions:
                continue
            previous = []
            for i, each in enumerate(
                words
            ):  # no comprehension: 3.11 would have a frame of it, and the caller elsewhere
                more = memory.words(each & TAG, FRAME_BYTES) if each else ()
                if more and more[codes[0]] & TAG == id(caller):
                    previous.append(i)
            if len(previous) == 1:  # else the pointer leads near the frame, not to its beginning
                return path, codes[0] * 8, instructions[0] * 8, previous[0] * 8
    raise RuntimeError("the running frame was not found: this interpreter is laid out in another way")


def _collecting(memory: Memory, runtime: int, size: int) -> int | None:
    """Where it says that the garbage collector runs; None where that is not found just once."""
    inside: list[bytes] = []

    def look(phase: str, _facts: dict[str, int]) -> None:
        if phase == "start":
            inside.append(memory.read(runtime, size))

    candidates: set[int] | None = None
    gc.callbacks.append(look)
    try:
        for _ in range(COLLECTIONS):
            gc.collect(0)
            during, after = (
                struct.unpack(f"<{size // 4}i", data) for data in (inside.pop(), memory.read(runtime, size))
            )
            here = {i for i, (one, zero) in enumerate(zip(during, after, strict=True)) if (one, zero) == (1, 0)}
            candidates = here if candidates is None else candidates & here
            inside.clear()
    finally:
        gc.callbacks.remove(look)
    return candidates.pop() * 4 if candidates and len(candidates) == 1 else None


def _runtime(pid: int) -> tuple[int, int]:
    """The address of the interpreter's runtime in a process, and how many bytes from there on can be read."""
    own = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    parts = list(_mapped(os.getpid()))
    path, _, end = next(part for part in parts if part[1] <= own < part[2])
    offset, size = own - min(begin for name, begin, _ in parts if name == path), (end - own) // 8 * 8
    return min(begin for name, begin, _ in _mapped(pid) if name == path) + offset, size


def _mapped(pid: int) -> Iterator[tuple[str, int, int]]:
    """Path, begin and end of what is mapped."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        begin, _, end = parts[0].partition("-")
        yield parts[5] if len(parts) > 5 else "", int(begin, 16), int(end, 16)


class GilReader:
    """The GIL of a living process. Not thread-safe."""

    def __init__(self, pid: int, layout: Layout) -> None:
        self._memory, self._layout = Memory(pid), layout
        runtime, _ = _runtime(pid)
        self._gil = runtime + layout.gil + 8
        self._collecting = runtime + layout.collecting if layout.collecting is not None else 0
        self._names: dict[int, tuple[str, str]] = {}
        self._unpack = struct.Struct("<QixxxxQ").unpack

    def holder(self) -> Holder | None:
        """Who holds the GIL now; None where nobody does."""
        data = self._memory.read(self._gil, 24)
        if not data:
            raise ProcessLookupError("the process has ended")
        state, is_locked, switches = self._unpack(data)
        return Holder(state, switches) if is_locked else None

    def is_collecting(self) -> bool:
        """Whether the garbage collector runs."""
        return bool(self._collecting) and self._memory.read(self._collecting, 4) == b"\1\0\0\0"

    def native_id(self, state: int) -> int:
        """The kernel's id of a thread; 0 where it has gone."""
        words = self._memory.words(state + self._layout.native_id, 8)
        return words[0] if words else 0

    def stack(self, state: int) -> list[tuple[str, str, int]]:
        """File, function and instruction of each frame, the innermost first: as they were, for the thread goes on."""
        layout, words, frame = self._layout, self._memory.words, state
        found: list[tuple[str, str, int]] = []
        for offset in layout.frame:
            pointer = words(frame + offset, 8)
            frame = pointer[0] & TAG if pointer else 0
        while frame and len(found) < FRAMES_MAX and (data := words(frame, FRAME_BYTES)):
            code = data[layout.code // 8] & TAG
            file, function = self._named(code)
            if function:
                found.append((file, function, data[layout.instruction // 8] - code - CODE_HEAD))
            frame = data[layout.previous // 8] & TAG
        return found

    def _named(self, code: int) -> tuple[str, str]:
        if code not in self._names:
            data = self._memory.words(code, CODE_HEAD)
            at = (self._layout.filename // 8, self._layout.qualname // 8)
            self._names[code] = (self._text(data[at[0]]), self._text(data[at[1]])) if data else ("", "")
        return self._names[code]

    def _text(self, address: int) -> str:
        head = self._memory.words(address, 24)
        if not head or not 0 < head[2] < 4096:
            return ""
        return self._memory.read(address + STRING_HEAD, head[2]).decode("ascii", "replace")


def place_of(file: str, function: str, instruction: int) -> Place:
    """The line of an instruction, by compiling the file as the other process did."""
    for code in _codes(file, function):
        lines = [line for begin, end, line in code.co_lines() if begin <= instruction < end and line]
        if lines:
            return Place(file, function, lines[0])
    return Place(file, function, 0)


@functools.cache
def _codes(file: str, function: str) -> list[CodeType]:
    try:
        source = Path(file).read_bytes()
        return [code for code in _within(compile(source, file, "exec")) if code.co_qualname == function]
    except (OSError, SyntaxError, ValueError):
        return []


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _within(const)
