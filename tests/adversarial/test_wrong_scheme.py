"""What is said of an address with https in front of a plain registry, or http in front of one that speaks TLS?"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.directory import RegistryDirectory
from registry.errors import RegistryWrongScheme
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.http.terms import Timeouts
from registry.names import Origin, Repository
from security.directory.client import load_trust
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.house.trust import FreshTrust
from tests.support.certificates import Authority
from tests.support.directories import clock, house
from tests.support.liar import Liar, Reply
from tests.support.world import ROOMY, world

REPO = Repository("mailbox/hospital-a")
GO = b"Client sent an HTTP request to an HTTPS server.\n"
NGINX = b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"


def client(url: str) -> HttpRegistry:
    return HttpRegistry(Http(Origin.from_text(url), timeouts=Timeouts(connect=5, read=5)), prefix=None)


@pytest.fixture
def plain() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


def secured(url: str) -> str:
    return url.replace("http://", "https://")


def test_https_in_front_of_a_plain_registry_says_what_to_change(plain: Liar) -> None:
    with pytest.raises(RegistryWrongScheme) as caught:
        client(secured(plain.url)).list_tags(REPO)
    assert caught.value.code == "registry.scheme"
    assert "says https" in caught.value.message
    assert "http://" in str(caught.value.hint)


@pytest.mark.parametrize("body", [GO, NGINX])
def test_http_in_front_of_a_secured_registry_says_what_to_change(plain: Liar, body: bytes) -> None:
    plain.otherwise = Reply(status=400, body=body)
    with pytest.raises(RegistryWrongScheme) as caught:
        client(plain.url).list_tags(REPO)
    assert "says http," in caught.value.message
    assert "https://" in str(caught.value.hint)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """A server that speaks TLS and answers nothing else but an alert."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path / "authority").issue("127.0.0.1"))
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                first = connection.recv(1)
                if first != b"\x16":  # no handshake: what RFC 8446 tells a server to answer, and to close
                    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_http_answered_by_a_tls_alert_says_what_to_change(secure: str) -> None:
    with pytest.raises(RegistryWrongScheme):
        client(secure).list_tags(REPO)


def test_a_directory_at_the_wrong_scheme_is_not_called_rejected(plain: Liar, tmp_path: Path) -> None:
    """Of the directory itself nothing is known: it is no `directory.rejected`, and no internal error."""
    source = RegistryDirectory(client(secured(plain.url)))
    root = house(tmp_path / "workspace").root
    trust = FreshTrust(lambda now: load_trust(source, tmp_path / "cache", root, now), seconds=60)
    with pytest.raises(RegistryWrongScheme):
        trust(clock())


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    found = [one.__dict__ for one in caplog.records if one.levelno >= logging.WARNING]
    return [(one["what"], one["code"], one["hint"]) for one in found]


def test_a_daemon_at_the_wrong_scheme_says_so_once_and_again_when_it_has_changed(
    plain: Liar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every two seconds there was a line without the hint, and a false `directory.rejected` beside it."""
    here = world(tmp_path, stations=("hospital-a",))
    wrong = client(secured(plain.url))
    root = house(tmp_path / "workspace").root
    directory = RegistryDirectory(wrong)
    trust = FreshTrust(lambda now: load_trust(directory, tmp_path / "cache", root, now), seconds=60)
    depot = here.houses["hospital-a"].depot
    try:
        here.change("hospital-a", trust=trust)
        depot.registry = wrong
        shift = Shift(here.houses["hospital-a"], Pace(clock=here.clock, poll_seconds=1), ROOMY)

        def turns() -> None:
            for _ in range(5):
                shift.turn()
                here.now += timedelta(seconds=2)

        turns()
        (one,) = [line for line in told(caplog) if line[0] == "mailbox"]
        assert one[1] == "registry.scheme"
        assert "http://" in one[2]
        assert {code for _, code, _ in told(caplog)} == {"registry.scheme"}
        assert len(told(caplog)) == len({what for what, _, _ in told(caplog)})
        assert plain.asked == []
        plain.otherwise = Reply(status=400, body=GO)
        depot.registry = client(plain.url)
        turns()
        assert len([line for line in told(caplog) if line[0] == "mailbox"]) == 2
        depot.registry = here.registry
        turns()
        assert len([line for line in told(caplog) if line[0] == "mailbox"]) == 2
        depot.registry = wrong
        turns()
        assert len([line for line in told(caplog) if line[0] == "mailbox"]) == 3
    finally:
        here.close()
