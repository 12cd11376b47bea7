"""The port of the web server, tried with real sockets."""

import os
import socket

import pytest

from app.doctor.findings import State
from app.doctor.machine import check_port


def test_a_free_port_is_free_afterwards(free_port):
    """It is bound no longer than to try it."""
    assert check_port("127.0.0.1", free_port, is_named=True).state is State.OK
    with socket.create_server(("127.0.0.1", free_port)):
        pass


@pytest.mark.parametrize(("is_named", "state"), [(True, State.FAILED), (False, State.OK)])
def test_a_port_that_is_taken_fails_only_where_it_was_named(is_named, state):
    """Else the next free one is taken. Who has it is said where that may be seen."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = check_port("127.0.0.1", port, is_named=is_named)
    assert finding.state is state
    assert f"127.0.0.1:{port} is taken" in finding.text
    if os.path.isdir("/proc/net"):
        assert f"by process {os.getpid()}" in finding.text


def test_an_address_of_another_machine_fails():
    """It is named as such."""
    finding = check_port("192.0.2.1", 9500, is_named=True)
    assert finding.state is State.FAILED
    assert "is no address of this machine" in finding.text
