"""The collector on a machine that reaches the exchange through a proxy alone."""

import pytest

from tests.acceptance.harness import CollectorProcess, Subscriber
from tests.support.servers import Proxy
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until


@pytest.mark.parametrize(("kind", "scheme"), [("http", "http"), ("socks5", "socks5h")])
def test_streams_and_rest_go_through_the_proxy(tmp_path, valkey, kind, scheme):
    """A host that only the proxy resolves; one line names the proxy, without the password."""
    with (
        SimulatorProcess("--rate", 200, "--symbols", 2, "--true-seconds") as sim,
        Subscriber(valkey.port) as subscriber,
        Proxy(kind, "me:p/w") as proxy,
    ):
        ws_url, rest_url = (url.replace("127.0.0.1", "far.invalid") for url in (sim.ws_url("linear"), sim.rest_url))
        (tmp_path / ".env").write_text(f"ALL_PROXY={proxy.url(scheme, 'me:p%2Fw')}\n")
        settings = {"REDIS_PORT": valkey.port, "KLINE_INTERVALS": "1s", "SYMBOLS": "BTCUSDT", "ENV_FILE": ""}
        with CollectorProcess(tmp_path, BYBIT_WS_URL=ws_url, BYBIT_REST_URL=rest_url, **settings) as collector:
            wait_until(lambda: any(kline["complete"] for kline in subscriber.klines()))
            ports = {int(url.split(":")[2].split("/")[0]) for url in (ws_url, rest_url)}
            wait_until(lambda: {("far.invalid", port) for port in ports} <= set(proxy.requested))
            (line,) = collector.events("collecting_from")
            assert set(line["proxies"].values()) == {f"{scheme}://127.0.0.1:{proxy.port}"}
            assert "p/w" not in collector.newest_output()
            assert collector.stop() == 0


def test_a_certificate_that_is_not_there_ends_with_2(tmp_path, valkey):
    """By name, where a restart would change nothing."""
    with CollectorProcess(tmp_path, REDIS_PORT=valkey.port, REQUESTS_CA_BUNDLE="/no/such.pem") as collector:
        assert collector.wait() == 2
        assert any("REQUESTS_CA_BUNDLE=/no/such.pem: there is no such file" in line for line in collector.output)
