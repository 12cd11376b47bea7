"""TLS read in bulk, against OpenSSL's own server side."""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.tls import BulkTls, BulkTlsSocket
from tests.waiting import wait_until

Certificate = tuple[Path, Path]


def serve(certificate: Certificate, talk: Callable[[ssl.SSLSocket], object]) -> int:
    """One TLS conversation on a thread; the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with listener, listener.accept()[0] as sock:
            try:
                with context.wrap_socket(sock, server_side=True) as secure:
                    talk(secure)
            except OSError:  # refused by the client, which is what some tests are about
                pass

    threading.Thread(target=run, daemon=True).start()
    return int(listener.getsockname()[1])


def connect(port: int, certificate: Certificate, name: str = "127.0.0.1") -> BulkTlsSocket:
    sock = socket.create_connection(("127.0.0.1", port), 5)
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    try:
        return BulkTls(trusted).wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=True)
    except OSError:
        sock.close()  # as websocket-client does
        raise


def test_many_records_come_with_one_read(certificate: Certificate) -> None:
    """That is what it is for."""
    sent = threading.Event()

    def talk(sock: ssl.SSLSocket) -> None:
        for number in range(100):
            sock.sendall(b"%03d" % number)
        sent.set()
        sock.recv(1)

    client = connect(serve(certificate, talk), certificate)
    assert client.recv(3) == b"000"
    assert sent.wait(5)
    buffer = bytearray(256 * 1024)
    client.setblocking(False)
    got = b""
    reads = 0
    while len(got) < 99 * 3:
        try:
            got += bytes(buffer[: client.recv_into(buffer)])
            reads += 1
        except BlockingIOError:
            continue
    assert got == b"".join(b"%03d" % number for number in range(1, 100))
    assert reads <= 10
    client.close()


def test_nothing_there_is_told_as_a_socket_does(certificate: Certificate) -> None:
    """Blocking: after the timeout; non-blocking: at once."""
    done = threading.Event()
    client = connect(serve(certificate, lambda _: done.wait(10)), certificate)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(10)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(10)
    done.set()
    client.close()


def test_what_the_kernel_does_not_take_goes_later_in_order(certificate: Certificate) -> None:
    """A non-blocking send loses nothing and repeats nothing."""
    go, got = threading.Event(), bytearray()

    def talk(sock: ssl.SSLSocket) -> None:
        go.wait(10)
        while part := sock.recv(65536):
            got.extend(part)

    client = connect(serve(certificate, talk), certificate)
    client.setblocking(False)
    message = bytes(range(256)) * 64
    for _ in range(500):  # 8 MB: more than any socket buffer
        client.send(message)
    go.set()
    wait_until(lambda: client.send(b"") == 0 and len(got) == 500 * len(message), 20)
    assert bytes(got) == message * 500
    client.close()


@pytest.mark.parametrize("goodbye", [True, False], ids=["with a goodbye", "without"])
def test_the_end_is_an_empty_read(certificate: Certificate, goodbye: bool) -> None:
    """With a TLS goodbye or cut off: WebSocket has its own closing frame."""
    client = connect(serve(certificate, lambda sock: sock.unwrap() if goodbye else None), certificate)
    assert client.recv(10) == b""
    client.close()


def test_another_hosts_certificate_is_refused(certificate: Certificate) -> None:
    """The name is checked, as the context asks for."""
    port = serve(certificate, lambda sock: sock.recv(1))
    with pytest.raises(ssl.SSLCertVerificationError, match="example"):
        connect(port, certificate, "example.com")


def test_a_server_that_hangs_up_during_the_handshake(certificate: Certificate) -> None:
    """An OSError, as every other failure to connect."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
    with listener, pytest.raises(OSError, match=r"closed|reset"):
        connect(listener.getsockname()[1], certificate)
