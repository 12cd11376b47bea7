"""The files of the page: index.html at /, all others under /page/. Read when they are first asked for, and kept.

The event loop's thread; a file is some kilobytes, the largest 200.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from consumers.web.http import HttpAnswer, HttpRequest, Route, Routes

FOLDER = Path(__file__).resolve().parent.parent / "page"
INDEX, PREFIX, VENDOR = "index.html", "/page/", "vendor/"
SERVED = (".html", ".js", ".mjs", ".css", ".svg", ".png", ".ico", ".json", ".txt", ".woff2", ".webmanifest")
SERVED_NAMES = ("LICENSE", "NOTICE")
TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
    }
)  # whatever the system's table of types says
PACKED = (".html", ".js", ".mjs", ".css", ".svg", ".json", ".txt", "")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageFile:
    """One file, and how it is sent."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._suffix = path, path.suffix
        self._cache = "max-age=86400" if name.startswith(VENDOR) else "no-cache"

    @cached_property
    def content(self) -> bytes:
        """What it holds."""
        return self._path.read_bytes()

    @cached_property
    def packed(self) -> bytes:
        """The same, compressed."""
        return gzip.compress(self.content, mtime=0)

    @cached_property
    def tag(self) -> str:
        """Its ETag: weak, for it is sent compressed and not."""
        return f'W/"{hashlib.sha256(self.content).hexdigest()[:20]}"'

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request for it."""
        headers = {
            "Cache-Control": self._cache,
            "Content-Security-Policy": POLICY,
            "ETag": self.tag,
            "Vary": "Accept-Encoding",
            "X-Frame-Options": "DENY",
        }
        if self.tag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
            return HttpAnswer(304, b"", self._type, headers)
        if self._suffix in PACKED and "gzip" in request.headers.get("accept-encoding", ""):
            return HttpAnswer(200, self.packed, self._type, {**headers, "Content-Encoding": "gzip"})
        return HttpAnswer(200, self.content, self._type, headers)

    @property
    def _type(self) -> str:
        if self._suffix in TYPES:
            return TYPES[self._suffix]
        return (mimetypes.types_map.get(self._suffix) if self._suffix else None) or "text/plain; charset=utf-8"


class PageFiles:
    """All files of the page; what is there at the first request is served, and nothing else."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> Mapping[str, PageFile]:
        found = {
            path.relative_to(self._folder).as_posix(): path
            for path in sorted(self._folder.rglob("*"))
            if path.is_file() and (path.suffix in SERVED or path.name in SERVED_NAMES)
        }
        return {name: PageFile(path, name) for name, path in found.items()}

    def index(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request for /."""
        return self._answer(INDEX, request)

    def file(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request for a file."""
        return self._answer(request.path.removeprefix(PREFIX), request)

    def _answer(self, name: str, request: HttpRequest) -> HttpAnswer:
        file = self._files.get(name)
        return file.answer(request) if file else HttpAnswer.text(404, f"There is no {PREFIX}{name[:80]}")


def page_routes(folder: Path = FOLDER) -> Routes:
    """Return the routes of the page."""
    files = PageFiles(folder)
    return {"/": Route(files.index), PREFIX: Route(files.file)}
