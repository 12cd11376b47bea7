"""The files of the page."""

import gzip
from pathlib import Path

import pytest

from consumers.web.http import HttpAnswer, HttpRequest, route_of
from consumers.web.live.files import page_routes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vendor").mkdir()
    for name, text in {
        "index.html": "<!doctype html>",
        "page.js": "export const a = 1;" * 100,
        "vendor/chart.mjs": "x",
        "vendor/LICENSE": "Apache",
        "notes.md": "not for users",
        "icon.svg": "<svg/>",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def get(folder: Path, path: str, **headers: str) -> HttpAnswer:
    route = route_of(page_routes(folder), path)
    assert route is not None
    assert not route.is_open
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = route.handler(HttpRequest(path, headers=named))
    assert isinstance(answer, HttpAnswer)
    return answer


def test_the_page_and_its_files_are_served_with_their_types(folder: Path) -> None:
    """Whatever the system believes that a .js is."""
    assert get(folder, "/").content_type == "text/html; charset=utf-8"
    assert get(folder, "/page/page.js").content_type == "text/javascript; charset=utf-8"
    assert get(folder, "/page/vendor/chart.mjs").content_type == "text/javascript; charset=utf-8"
    assert get(folder, "/page/icon.svg").content_type == "image/svg+xml"
    assert get(folder, "/page/vendor/LICENSE").body == b"Apache"


@pytest.mark.parametrize(
    "path", ["/page/", "/page/nothing.js", "/page/../files.py", "/page/notes.md", "/page//etc/passwd", "/page/vendor"]
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    """Not what lies beside the page, nor what is no part of it."""
    assert get(folder, path).status == 404


def test_a_file_that_a_browser_has_is_not_sent_again(folder: Path) -> None:
    """By its ETag, which is of its content."""
    answer = get(folder, "/page/page.js")
    again = get(folder, "/page/page.js", if_none_match=f'"other", {answer.headers["ETag"]}')
    assert (again.status, again.body) == (304, b"")
    (folder / "page.js").write_text("export const a = 2;")
    assert get(folder, "/page/page.js", if_none_match=answer.headers["ETag"]).status == 200
    assert answer.headers["Cache-Control"] == "no-cache"
    assert get(folder, "/page/vendor/chart.mjs").headers["Cache-Control"] == "max-age=86400"


def test_a_file_is_compressed_for_those_who_take_it(folder: Path) -> None:
    """Browsers do."""
    plain, packed = get(folder, "/page/page.js"), get(folder, "/page/page.js", accept_encoding="gzip, br")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 5


def test_the_page_may_load_nothing_from_elsewhere_and_run_nothing_inline(folder: Path) -> None:
    """Nor be shown within another site."""
    policy = get(folder, "/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
