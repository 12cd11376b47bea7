"""The proxy of a URL: the variables as curl and requests read them."""

import itertools

import pytest

from network.proxies import ProxyAddressError, is_excluded, parse_proxy, proxy_of

WSS, WS, HTTPS, HTTP = "wss://stream.x/v5", "ws://stream.x/v5", "https://api.x", "http://api.x"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": "http://p:1"}, {WSS: "http://p:1", HTTPS: "http://p:1"}),
        ({"https_proxy": "http://p:1"}, {WSS: "http://p:1", HTTPS: "http://p:1"}),
        ({"http_proxy": "http://p:1"}, {WS: "http://p:1", HTTP: "http://p:1"}),
        ({"ALL_PROXY": "socks5h://p"}, dict.fromkeys((WSS, WS, HTTPS, HTTP), "socks5h://p:1080")),
        (
            {"all_proxy": "socks5://a", "HTTPS_PROXY": "http://p"},
            {WSS: "http://p:80", HTTPS: "http://p:80", WS: "socks5://a:1080", HTTP: "socks5://a:1080"},
        ),
        (
            {"https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"},
            dict.fromkeys((WSS, HTTPS), "http://small:1"),
        ),
        ({"ALL_PROXY": "p:3128", "NO_PROXY": "api.x"}, {WSS: "http://p:3128", WS: "http://p:3128"}),
        ({"ALL_PROXY": "socks://p", "no_proxy": ".x"}, {}),
        ({"ALL_PROXY": "SOCKS5H://p/", "NO_PROXY": ""}, dict.fromkeys((WSS, WS, HTTPS, HTTP), "socks5h://p:1080")),
        ({"ALL_PROXY": " "}, {}),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, {WSS: "http://[::1]:3128", HTTPS: "http://[::1]:3128"}),
    ],
)
def test_streams_and_rest_go_the_same_way(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: dict[str, str]
) -> None:
    """wss:// is https, ws:// is http; ALL_PROXY counts where no other is set; small letters count first."""
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    found = {url: proxy_of(url) for url in (WSS, WS, HTTPS, HTTP)}
    assert {url: str(proxy) for url, proxy in found.items() if proxy} == wanted


@pytest.mark.parametrize(
    ("host", "port", "entries", "excluded"),
    [
        ("api.x", 443, "api.x", True),
        ("API.x", 443, "other, api.X ,more", True),
        ("api.x", 443, "x", True),
        ("api.x", 443, ".x", True),
        ("api.x", 443, "*.x", True),
        ("x", 443, ".x", True),
        ("max", 443, "x", False),
        ("api.x", 443, "api.x:443", True),
        ("api.x", 443, "api.x:80", False),
        ("api.x", 443, "x:443 y", True),
        ("api.x", 443, "*", True),
        ("api.x", 443, "y,*", True),
        ("api.x", 443, "", False),
        ("api.x", 443, " , . ,:", False),
        ("10.1.2.3", 443, "10.0.0.0/8", True),
        ("10.1.2.3", 443, "10.1.2.99/24", True),
        ("11.1.2.3", 443, "10.0.0.0/8", False),
        ("10.1.2.3", 443, "10.1.2.3", True),
        ("10.1.2.3", 8080, "10.1.2.3:8080", True),
        ("10.1.2.3", 443, "10.1.2.3:8080", False),
        ("api.x", 443, "10.0.0.0/8", False),
        ("fd00::5", 443, "fd00::/8", True),
        ("::1", 443, "::1", True),
        ("::1", 443, "[::1]", True),
        ("::1", 443, "[::1]:443", True),
        ("::1", 443, "[::1]:80", False),
        ("api.x", 443, "10.0.0.0/99", False),
    ],
)
def test_what_is_reached_without_a_proxy(host: str, port: int, entries: str, excluded: bool) -> None:
    """Host, suffix, port, network, `*`."""
    assert is_excluded(host, port, entries) is excluded


def test_given_proxies_win_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to switch it off, and to leave hosts out."""
    monkeypatch.setenv("ALL_PROXY", "http://environment:1")
    assert str(proxy_of(WSS, {"https": "http://given:1"})) == "http://given:1"
    assert str(proxy_of(WSS, {"https://stream.x": "http://one:1", "https": "http://given:1"})) == "http://one:1"
    assert str(proxy_of(WS, {"https": "http://given:1"})) == "http://environment:1"
    assert proxy_of(WSS, {"all": ""}) is None
    assert proxy_of(WSS, {"no_proxy": "stream.x"}) is None


def test_logins_are_decoded_and_never_shown() -> None:
    """As percent-encoded in the URL; neither text nor repr has them."""
    proxy = parse_proxy("http://me%40work:p%2Fs%3As@p:1", "X")
    assert (proxy.user, proxy.password) == ("me@work", "p/s:s")
    assert not {"me", "p%2Fs", "p/s"} & {word for text in (str(proxy), repr(proxy)) for word in text.split("'")}
    assert "work" not in f"{proxy} {proxy!r}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://p:1", "must begin with http://, socks4://"),
        ("ftp://p:1", "must begin with"),
        ("http://p:99999", "no address of a proxy"),
        ("http://p:port", "no address of a proxy"),
        ("http://me:se#cret@p:1", "no address of a proxy"),
        ("http://me:se/cret@p:1", "no address of a proxy"),
        ("http://", "no address of a proxy"),
        ("http://[::1", "no address of a proxy"),
        ("http://p:1/path", "no address of a proxy"),
    ],
)
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    """The variable, not what it holds: that may be a password."""
    for name, url in itertools.product(("HTTPS_PROXY", "all_proxy"), (WSS, HTTPS)):
        with monkeypatch.context() as patch:
            patch.setenv(name, text)
            with pytest.raises(ProxyAddressError, match=problem) as raised:
                proxy_of(url)
        assert str(raised.value).startswith(f"{name} is ")
        assert "cret" not in str(raised.value)
