"""What is wrong with a registry's certificate is said, for each wrong has another remedy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.errors import RegistryUntrusted
from registry.http.terms import Trust
from registry.names import Repository, location
from registry.open import Access, open_registry
from tests.support.certificates import Authority


@contextlib.contextmanager
def served(certificate: Path, key: Path) -> Iterator[int]:
    """Offer TLS with this certificate, and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as shaken:
                        shaken.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def refusal(port: int, trust: Trust) -> RegistryUntrusted:
    with pytest.raises(RegistryUntrusted) as caught:
        open_registry(location(f"https://127.0.0.1:{port}"), Access(trust=trust), sleep=lambda _: None).list_tags(
            Repository("a")
        )
    return caught.value


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with served(*authority.issue("registry.example")) as port:
        error = refusal(port, Trust(ca_file=authority.file))
    assert error.message == "the registry's certificate is for another host name"
    assert "have its operator get one for 127.0.0.1" in str(error.hint)
    assert "--registry-ca-file" not in str(error.hint)


def test_a_certificate_of_an_authority_nobody_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    with served(*authority.issue("127.0.0.1")) as port:
        error = refusal(port, Trust())
    assert error.message == "the registry's certificate is from an authority that is not trusted here"
    assert "--registry-ca-file" in str(error.hint)


@pytest.mark.parametrize(("days", "says"), [(30, "not valid yet"), (-30, "no longer valid")])
def test_a_certificate_of_another_time(tmp_path: Path, days: int, says: str) -> None:
    authority = Authority(tmp_path / "authority")
    with served(*authority.issue("127.0.0.1", shifted=timedelta(days=days))) as port:
        error = refusal(port, Trust(ca_file=authority.file))
    assert says in error.message
    assert "--registry-ca-file" not in str(error.hint)
