"""TLS read in bulk, against OpenSSL's own server side."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.reader import READ_BYTES
from streams.tls import BulkTls, BulkTlsSocket
from tests.support.waiting import wait_until

Certificate = tuple[Path, Path]


def serve(
    certificate: Certificate, talk: Callable[[ssl.SSLSocket], object], context: ssl.SSLContext | None = None
) -> int:
    """One TLS conversation on a thread; the port."""
    if context is None:
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


def test_no_data_raises_as_a_socket_does(certificate: Certificate) -> None:
    """Blocking: after the timeout; non-blocking: at once."""
    done = threading.Event()
    client = connect(serve(certificate, lambda _: done.wait(10)), certificate)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(30)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(30)
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
    wait_until(lambda: client.send(b"") == 0 and len(got) == 500 * len(message))
    assert bytes(got) == message * 500
    client.close()


@pytest.mark.parametrize("close_notify", [True, False], ids=["with close_notify", "without"])
def test_the_end_is_an_empty_read(certificate: Certificate, close_notify: bool) -> None:
    """With close_notify or cut off: WebSocket has its own close frame."""
    client = connect(serve(certificate, lambda sock: sock.unwrap() if close_notify else None), certificate)
    assert client.recv(30) == b""
    client.close()


def test_another_hosts_certificate_is_refused(certificate: Certificate) -> None:
    """The name is checked, as the context requires."""
    port = serve(certificate, lambda sock: sock.recv(1))
    with pytest.raises(ssl.SSLCertVerificationError, match="example"):
        connect(port, certificate, "example.com")


def test_a_server_that_hangs_up_during_the_handshake(certificate: Certificate) -> None:
    """An OSError, as every other failure to connect."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
    with listener, pytest.raises(OSError, match=r"closed|reset"):
        connect(listener.getsockname()[1], certificate)


def test_a_handshake_has_one_deadline(certificate: Certificate) -> None:
    """A byte now and then does not prolong it."""
    over = threading.Event()

    def trickle() -> None:
        with listener.accept()[0] as sock, contextlib.suppress(OSError):
            sock.sendall(b"\x16\x03\x03\x40\x00")
            while not over.wait(0.02):
                sock.sendall(b"\x00")

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with listener, socket.create_connection(listener.getsockname()[:2], 5) as sock:
        sock.settimeout(0.3)
        begin_s = time.monotonic()
        with pytest.raises(TimeoutError):
            BulkTls(ssl.create_default_context()).wrap_socket(sock, server_hostname="127.0.0.1")
        assert time.monotonic() - begin_s < 10
        over.set()
        thread.join(5)


def test_a_record_that_does_not_end_does_not_hold_a_read_up(certificate: Certificate) -> None:
    """A time-out is of the whole read: deadlines are looked at between reads."""
    over = threading.Event()

    def trickle(sock: ssl.SSLSocket) -> None:
        socket.socket.sendall(sock, b"\x17\x03\x03\x40\x00")  # beside the encryption
        while not over.wait(0.01):
            socket.socket.sendall(sock, b"\x00")

    client = connect(serve(certificate, trickle), certificate)
    client.settimeout(0.1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            client.recv(READ_BYTES)
    over.set()
    client.close()


def test_later_requests_of_tls_are_answered_by_reading_alone(certificate: Certificate) -> None:
    """A certificate request after the handshake, in place of a key update: a data socket sends nothing itself."""
    answered = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(certificate[0])
    context.verify_mode, context.post_handshake_auth = ssl.CERT_OPTIONAL, True

    def talk(sock: ssl.SSLSocket) -> None:
        sock.verify_client_post_handshake()
        sock.sendall(b"data")
        sock.settimeout(0.05)
        for _ in range(200):
            with contextlib.suppress(TimeoutError):
                sock.recv(1)
            if sock.getpeercert():
                answered.set()
                return

    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    trusted.load_cert_chain(*certificate)
    trusted.post_handshake_auth = True
    sock = socket.create_connection(("127.0.0.1", serve(certificate, talk, context)), 5)
    client = BulkTls(trusted).wrap_socket(sock, server_hostname="127.0.0.1")
    client.settimeout(0.05)

    def read() -> bool:
        with contextlib.suppress(TimeoutError):
            client.recv(READ_BYTES)
        return answered.is_set()

    wait_until(read)
    client.close()
