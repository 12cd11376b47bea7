"""What is trusted: the variables of OpenSSL and of requests, for streams and REST alike."""

import os
import ssl
from pathlib import Path

import pytest
import trustme

from network import certificates
from network.certificates import CertificatesError, client_context, describe_certificates


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    """Two authorities, a file each."""
    paths = [tmp_path / "one.pem", tmp_path / "two.pem"]
    for path in paths:
        trustme.CA().cert_pem.write_to_path(str(path))
    return paths


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that trusts certifi's alone, so that counts are certain."""
    paths = ssl.get_default_verify_paths()._replace(cafile="", capath="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda _self: None)


def trusted() -> int:
    certificates.context_of.cache_clear()
    return len(client_context().get_ca_certs())


@pytest.mark.usefixtures("no_system")
def test_what_each_variable_trusts(monkeypatch: pytest.MonkeyPatch, bundles: list[Path]) -> None:
    """A bundle alone is all; beside OpenSSL's own it is added; CURL_CA_BUNDLE counts where the other is not set."""
    usual = trusted()
    assert usual > 50
    one, two = map(str, bundles)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        with monkeypatch.context() as patch:
            patch.setenv(name, one)
            assert trusted() == 1
            assert describe_certificates() == f"{name}={one}"
            patch.setenv("SSL_CERT_FILE", two)
            assert trusted() == usual + 2
            assert describe_certificates() == f"SSL_CERT_FILE={two}, {name}={one}"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", one)
    monkeypatch.setenv("CURL_CA_BUNDLE", two)
    assert trusted() == 1
    assert describe_certificates() == f"REQUESTS_CA_BUNDLE={one}"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path) -> None:
    """At the start, and not by failing for ever; nothing waits for a pipe."""
    os.mkfifo(tmp_path / "pipe_or_none")
    for _ in range(2):
        monkeypatch.setenv(name, str(tmp_path / "pipe_or_none"))
        with pytest.raises(CertificatesError, match=f"^{name}=.*none: there is no such file or folder$"):
            client_context()
        (tmp_path / "pipe_or_none").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_folder_without_hashed_names_is_named(monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path) -> None:
    """OpenSSL would find nothing in it, without a word."""
    (tmp_path / "ca.pem").write_text("whatever")
    monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(CertificatesError, match=f"^{name}=.*: no certificate in this folder is named as"):
        client_context()
    (tmp_path / "1a2b3c4d.0").write_text("whatever")
    client_context()


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_file_without_certificates_is_named(monkeypatch: pytest.MonkeyPatch, name: str, tmp_path: Path) -> None:
    """OpenSSL would trust no certificate, without an error."""
    (tmp_path / "ca.pem").write_text("not one")
    monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    with pytest.raises(CertificatesError, match=f"^{name}=.*ca.pem cannot be read as certificates"):
        client_context()


def test_contexts_verify(monkeypatch: pytest.MonkeyPatch, bundles: list[Path]) -> None:
    """The name, too."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundles[0]))
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
