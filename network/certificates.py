"""The TLS context for streams and REST: the certificates by which an exchange, or a proxy that opens TLS, is trusted.

SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's, beside the system's certificates. REQUESTS_CA_BUNDLE, or else
CURL_CA_BUNDLE, is trusted alone where only it is set, and is added where SSL_CERT_FILE or SSL_CERT_DIR is set, too.
"""

import functools
import os
import re
import ssl

import certifi

BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
OPENSSL = ("SSL_CERT_FILE", "SSL_CERT_DIR")
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # the only names that OpenSSL looks for in a folder


class CertificatesError(ValueError):
    """A variable names certificates that do not exist or cannot be read."""


def client_context() -> ssl.SSLContext:
    """A verifying context for the present environment, shared by all callers; raises CertificatesError."""
    return context_of(tuple(_named().items()))


@functools.cache
def context_of(variables: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    """The context for these variables, made once."""
    named = dict(variables)
    for name, path in named.items():
        folders = path.split(os.pathsep) if name == "SSL_CERT_DIR" else [path]
        if not any(map(os.path.isdir, folders)) and (name == "SSL_CERT_DIR" or not os.path.isfile(path)):  # nor a pipe
            raise CertificatesError(f"{name}={path}: there is no such file or folder")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a private authority need not be a root
    context.set_alpn_protocols(["http/1.1"])  # as urllib3 would set it at its first request
    if not named or any(name in OPENSSL for name in named):
        context.load_default_certs()
        if not _has_system_certificates():
            context.load_verify_locations(certifi.where())
    for name, path in named.items():
        if name == "SSL_CERT_DIR":  # may be several; OpenSSL has read them above
            continue
        if os.path.isdir(path) and not any(map(HASHED.fullmatch, os.listdir(path))):
            raise CertificatesError(f"{name}={path}: no certificate in this folder is named as `openssl rehash` does")
        try:
            context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
        except OSError as error:
            raise CertificatesError(f"{name}={path} cannot be read as certificates: {error}") from error
    return context


def describe_certificates() -> str:
    """The trusted certificates, for a log line."""
    if named := _named():
        return ", ".join(f"{name}={path}" for name, path in named.items())
    paths = ssl.get_default_verify_paths()
    return (paths.cafile or paths.capath or "") if _has_system_certificates() else certifi.where()


def _named() -> dict[str, str]:
    found = {name: path for name in (*OPENSSL, *BUNDLES) if (path := os.environ.get(name))}
    if all(name in found for name in BUNDLES):
        del found[BUNDLES[1]]  # as requests does
    return found


def _has_system_certificates() -> bool:
    """False for python.org's Python on macOS, and for a system whose folder of certificates is empty."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile or (paths.capath and os.listdir(paths.capath)))
