"""What can a hostile registry do to us? (T14, T15)

The attacks are mounted by a real HTTP server that lies; beside it a second server, the thief, to whom nothing may go.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.errors import (
    ForeignRealm,
    ForeignRedirect,
    ForeignUpload,
    RegistryDenied,
    RegistryListSlow,
    RegistryMisbehaved,
    RegistryUnavailable,
)
from registry.http.auth import Credentials
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.http.terms import Timeouts
from registry.names import Origin, Repository, Tag
from registry.oci import (
    DOCKER_MANIFEST,
    EMPTY,
    MAX_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    make_manifest,
    parse_manifest,
)
from registry.port import Registry
from registry.retry import RetryingRegistry
from security.digest import Prefix, digest_of
from security.errors import BudgetExceeded, DigestMismatch, MalformedArtifact, MalformedJson, PhtError
from tests.support.liar import Liar, Reply, endless

REPO = Repository("mailbox/hospital-a")
DATA = b"the bytes of a sealed state"
BLOB = Descriptor(media_type="application/octet-stream", digest=digest_of(DATA), size=len(DATA))
BLOB_PATH = f"/v2/{REPO}/blobs/{BLOB.digest}"
UPLOADS = f"/v2/{REPO}/blobs/uploads/"
MANIFEST = make_manifest(config=EMPTY, layers=[BLOB])
TAG_PATH = f"/v2/{REPO}/manifests/t"
TAGS_PATH = f"/v2/{REPO}/tags/list"
ACCOUNT = Credentials(username="hospital-a", password="canary-password")  # noqa: S106 - looked for in what leaks
TYPED = {"Content-Type": OCI_MANIFEST}


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


@pytest.fixture
def thief() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


def fetch(registry: Registry) -> bytes:
    with registry.open_blob(REPO, BLOB) as source:
        return source.read()


def push(registry: Registry, data: bytes = DATA) -> None:
    blob = Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=len(data))
    registry.put_blob(REPO, blob, lambda offset: io.BytesIO(data[offset:]))


def code_of(error: PhtError) -> str:
    text = f"{error} {error.hint} {error.fields}"
    assert "canary" not in text
    return error.code


# --- parts of a blob --------------------------------------------------------------------------------------------------

HALF = len(DATA) // 2
REST = f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}"


def rest(registry: Registry) -> bytes:
    with registry.open_blob(REPO, BLOB, Prefix.of(io.BytesIO(DATA[:HALF]))) as source:
        return source.read()


def test_part_is_asked_for_and_read(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=206, headers={"Content-Range": REST}, body=DATA[HALF:]))
    assert rest(liar.client()) == DATA[HALF:]
    assert [asked.headers.get("range") for asked in liar.asked] == [f"bytes={HALF}-"]


@pytest.mark.parametrize(
    "said",
    [
        "",
        f"bytes {HALF + 1}-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA)}/{len(DATA) + 1}",
        f"bytes {HALF}-{len(DATA) - 2}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA) - 1}/*",
        "bytes 0-0/1",
        "canary",
    ],
)
def test_t15_part_that_was_not_asked_for_is_not_used(liar: Liar, said: str) -> None:
    liar.says(
        *("GET", BLOB_PATH),
        Reply(status=206, headers={"Content-Range": said} if said else {}, body=DATA[HALF:]),
        Reply(body=DATA),
    )
    assert rest(liar.client()) == DATA[HALF:]
    assert [asked.headers.get("range") for asked in liar.asked] == [f"bytes={HALF}-", None]


def test_registry_that_knows_no_parts_sends_the_whole(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(body=DATA))
    assert rest(liar.client()) == DATA[HALF:]
    assert len(liar.asked) == 1


def test_registry_that_refuses_parts_sends_the_whole(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=416), Reply(body=DATA))
    assert rest(liar.client()) == DATA[HALF:]


@pytest.mark.parametrize("body", [DATA[HALF:-1] + b"X", DATA[HALF:-1], DATA[HALF:] + b"X", b""])
def test_t15_part_of_something_else(liar: Liar, body: bytes) -> None:
    pieces = Reply(status=206, headers={"Content-Range": REST}, body=[body] if body else [])
    liar.says("GET", BLOB_PATH, pieces)
    with pytest.raises((DigestMismatch, BudgetExceeded)):
        rest(liar.client())


def test_t15_whole_that_ends_before_the_part(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(body=[DATA[: HALF - 1]]))
    with pytest.raises(DigestMismatch):
        rest(liar.client())


def test_t15_part_that_nobody_asked_for(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=206, headers={"Content-Range": REST}, body=DATA[HALF:]))
    with pytest.raises(RegistryMisbehaved):
        fetch(liar.client())


def test_part_is_asked_for_where_a_blob_was_redirected(liar: Liar, thief: Liar) -> None:
    store = thief
    liar.says("GET", BLOB_PATH, Reply(status=307, headers={"Location": f"{store.url}/bucket/x"}))
    store.says("GET", "/bucket/x", Reply(status=206, headers={"Content-Range": REST}, body=DATA[HALF:]))
    assert rest(liar.client(credentials=ACCOUNT, blob_origins=[store.url])) == DATA[HALF:]
    assert [(one.headers.get("range"), one.authorization) for one in store.asked] == [(f"bytes={HALF}-", None)]


# --- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_t15_blob_redirected_to_a_stranger(liar: Liar, thief: Liar, status: int) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=status, headers={"Location": f"{thief.url}/x?canary=1"}))
    thief.says("GET", "/x", Reply(body=DATA))
    with pytest.raises(ForeignRedirect) as caught:
        fetch(liar.client())
    assert code_of(caught.value) == "registry.foreign-redirect"
    assert thief.asked == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "http://user:pw@127.0.0.1/", "", "http://["]
)
def test_t15_blob_redirected_to_no_web_address(liar: Liar, target: str) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=307, headers={"Location": target}))
    with pytest.raises(ForeignRedirect):
        fetch(liar.client())


def test_t15_blob_redirected_to_a_named_store_goes_without_credentials(liar: Liar, thief: Liar) -> None:
    store = thief
    challenge = {"WWW-Authenticate": 'Basic realm="r"'}
    redirect = Reply(status=307, headers={"Location": f"{store.url}/bucket/x?signature=1", "Set-Cookie": "a=b; path=/"})
    liar.says("GET", BLOB_PATH, Reply(status=401, headers=challenge), redirect)
    store.says("GET", "/bucket/x", Reply(body=DATA))
    assert fetch(liar.client(credentials=ACCOUNT, blob_origins=[store.url])) == DATA
    assert liar.asked[-1].authorization == ACCOUNT.header()
    assert [(asked.authorization, asked.headers.get("cookie")) for asked in store.asked] == [(None, None)]


def test_t15_named_store_that_asks_for_credentials_gets_none(liar: Liar, thief: Liar) -> None:
    store = thief
    liar.says("GET", BLOB_PATH, Reply(status=307, headers={"Location": f"{store.url}/x"}))
    store.says("GET", "/x", Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(RegistryDenied):
        fetch(liar.client(credentials=ACCOUNT, blob_origins=[store.url]))
    assert [asked.authorization for asked in store.asked] == [None]


def test_t15_redirect_with_a_body_without_end(liar: Liar, thief: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=307, headers={"Location": thief.url}, body=endless()))
    liar.says("GET", TAG_PATH, Reply(status=307, headers={"Location": thief.url}, body=endless()))
    with pytest.raises(ForeignRedirect):
        fetch(liar.client())
    with pytest.raises(ForeignRedirect):
        liar.client().get_manifest(REPO, Tag("t"))
    assert thief.asked == []


def test_t15_redirects_without_end(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(status=302, headers={"Location": BLOB_PATH}))
    with pytest.raises(ForeignRedirect):
        fetch(liar.client())
    assert len(liar.asked) < 10


def test_t15_manifest_tags_and_uploads_are_never_redirected(liar: Liar, thief: Liar) -> None:
    away = Reply(status=307, headers={"Location": f"{thief.url}/x"})
    liar.says("GET", TAG_PATH, away)
    liar.says("GET", TAGS_PATH, away)
    liar.says("PUT", TAG_PATH, away)
    liar.says("POST", UPLOADS, away)
    registry = liar.client(blob_origins=[thief.url])
    for act in (
        lambda: registry.get_manifest(REPO, Tag("t")),
        lambda: registry.list_tags(REPO),
        lambda: registry.put_manifest(REPO, Tag("t"), MANIFEST.raw, OCI_MANIFEST),
        lambda: push(registry),
    ):
        with pytest.raises(ForeignRedirect) as caught:
            act()
        assert code_of(caught.value) == "registry.foreign-redirect"
    assert thief.asked == []


# --- credentials -----------------------------------------------------------------------------------------------------


def bearer(realm: str) -> Reply:
    return Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="repository:*:*"'})


def elsewhere(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


def test_t15_foreign_realm_gets_no_credentials(liar: Liar, thief: Liar) -> None:
    liar.says("GET", TAGS_PATH, bearer(elsewhere(thief.url) + "/token"))
    with pytest.raises(ForeignRealm) as caught:
        liar.client(credentials=ACCOUNT).list_tags(REPO)
    assert code_of(caught.value) == "registry.foreign-realm"
    assert thief.asked == []


@pytest.mark.parametrize(
    "realm", ["", "/token", "file:///etc/passwd", "https://127.0.0.1:1/t", "http://a@127.0.0.1/", "http://["]
)
def test_t15_realm_that_is_not_ours(liar: Liar, realm: str) -> None:
    liar.says("GET", TAGS_PATH, bearer(realm))
    with pytest.raises(ForeignRealm):
        liar.client(credentials=ACCOUNT).list_tags(REPO)


def test_t15_named_realm_gets_our_scope_and_not_the_one_of_the_challenge(liar: Liar, thief: Liar) -> None:
    service = thief
    liar.says("GET", TAGS_PATH, bearer(elsewhere(service.url) + "/token"), Reply(body=_tags("t")))
    service.says("GET", "/token", Reply(body=b'{"access_token": "abc"}'))
    registry = liar.client(credentials=ACCOUNT, token_origins=[elsewhere(service.url)])
    assert registry.list_tags(REPO) == (Tag("t"),)
    assert liar.asked[-1].authorization == "Bearer abc"
    assert "scope=repository%3Amailbox%2Fhospital-a%3Apull" in service.asked[0].path
    assert "%2A" not in service.asked[0].path


def test_t15_token_service_that_redirects(liar: Liar, thief: Liar) -> None:
    liar.says("GET", TAGS_PATH, bearer(liar.url + "/token"))
    liar.says("GET", "/token", Reply(status=307, headers={"Location": f"{thief.url}/x"}))
    with pytest.raises(ForeignRedirect):
        liar.client(credentials=ACCOUNT).list_tags(REPO)
    assert thief.asked == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"token": 5}', b'{"token": "a\\r\\nX: y"}', b'{"token": ""}', b'{"token":"a","token":"b"}']
)
def test_t15_token_that_is_none(liar: Liar, body: bytes) -> None:
    liar.says("GET", TAGS_PATH, bearer(liar.url + "/token"))
    liar.says("GET", "/token", Reply(body=body))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client(credentials=ACCOUNT).list_tags(REPO)
    assert code_of(caught.value) == "registry.misbehaved"


def test_t15_token_without_end(liar: Liar) -> None:
    liar.says("GET", TAGS_PATH, bearer(liar.url + "/token"))
    liar.says("GET", "/token", Reply(body=endless()))
    with pytest.raises(RegistryMisbehaved):
        liar.client(credentials=ACCOUNT).list_tags(REPO)


def test_t15_refusing_for_ever_ends_with_a_denial(liar: Liar) -> None:
    liar.says("GET", TAGS_PATH, bearer(liar.url + "/token"))
    liar.says("GET", "/token", Reply(body=b'{"token": "abc"}'))
    with pytest.raises(RegistryDenied) as caught:
        liar.client(credentials=ACCOUNT).list_tags(REPO)
    assert code_of(caught.value) == "registry.denied"
    assert len(liar.asked) == 3


def test_t15_netrc_is_not_used(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    liar.says("GET", TAGS_PATH, Reply(body=_tags("t")))
    assert liar.client().list_tags(REPO) == (Tag("t"),)
    assert liar.asked[0].authorization is None


# --- uploads ---------------------------------------------------------------------------------------------------------


def test_t15_upload_sent_to_a_stranger(liar: Liar, thief: Liar) -> None:
    liar.says("POST", UPLOADS, Reply(status=202, headers={"Location": f"{thief.url}/up?canary=1"}))
    with pytest.raises(ForeignUpload) as caught:
        push(liar.client())
    assert code_of(caught.value) == "registry.foreign-upload"
    assert thief.asked == []


@pytest.mark.parametrize("target", ["http://[", "file:///x", "https://127.0.0.1/up"])
def test_t15_upload_sent_nowhere(liar: Liar, target: str) -> None:
    liar.says("POST", UPLOADS, Reply(status=202, headers={"Location": target}))
    with pytest.raises(ForeignUpload):
        push(liar.client())


def test_t15_later_chunk_sent_to_a_stranger(liar: Liar, thief: Liar) -> None:
    liar.says("POST", UPLOADS, Reply(status=202, headers={"Location": "/up"}))
    liar.says("PATCH", "/up", Reply(status=202, headers={"Location": f"{thief.url}/up"}))
    with pytest.raises(ForeignUpload):
        push(liar.client(), bytes(40 << 20))
    assert thief.asked == []


def test_t15_upload_whose_bytes_are_counted_wrongly(liar: Liar) -> None:
    liar.says("POST", UPLOADS, Reply(status=202, headers={"Location": "/up"}))
    liar.says("PATCH", "/up", Reply(status=202, headers={"Location": "/up", "Range": "0-99999999999"}))
    with pytest.raises(RegistryMisbehaved) as caught:
        push(liar.client(), bytes(40 << 20))
    assert code_of(caught.value) == "registry.misbehaved"


def test_t15_upload_confirmed_under_another_digest(liar: Liar) -> None:
    liar.says("POST", UPLOADS, Reply(status=202, headers={"Location": "/up"}))
    liar.says("PUT", "/up", Reply(status=201, headers={"Docker-Content-Digest": str(digest_of(b"other"))}))
    with pytest.raises(RegistryMisbehaved):
        push(liar.client())


def test_manifest_that_the_registry_cannot_take_while_another_is_written_is_sent_again(liar: Liar) -> None:
    """A registry that reads a link to a blob before all of it is written says that a digest is invalid."""
    busy = Reply(status=400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}')
    taken = Reply(status=201, headers={"Docker-Content-Digest": str(MANIFEST.digest)})
    liar.says("PUT", TAG_PATH, busy, taken)
    waited: list[float] = []
    registry = RetryingRegistry(liar.client(), sleep=waited.append)
    assert registry.put_manifest(REPO, Tag("t"), MANIFEST.raw, OCI_MANIFEST) == MANIFEST.digest
    assert len(waited) == 1


def test_t15_manifest_confirmed_under_another_digest(liar: Liar) -> None:
    liar.says("PUT", TAG_PATH, Reply(status=201, headers={"Docker-Content-Digest": str(digest_of(b"other"))}))
    with pytest.raises(DigestMismatch):
        liar.client().put_manifest(REPO, Tag("t"), MANIFEST.raw, OCI_MANIFEST)


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "refusal", "code"),
    [
        (Reply(body=bytes(len(DATA))), DigestMismatch, "digest.mismatch"),
        (Reply(body=DATA[:-1]), DigestMismatch, "digest.mismatch"),
        (Reply(body=DATA + b"x"), DigestMismatch, "digest.mismatch"),
        (Reply(body=[DATA[:5], DATA[5:-1]]), DigestMismatch, "digest.mismatch"),
        (Reply(body=DATA[:-1], until_close=True), DigestMismatch, "digest.mismatch"),
        (Reply(body=DATA[:-1], length=len(DATA)), RegistryUnavailable, "registry.unavailable"),
        (Reply(body=[DATA, b"x"]), BudgetExceeded, "malformed.too-large"),
        (Reply(body=DATA, length=len(DATA) + 1), DigestMismatch, "digest.mismatch"),
        (
            Reply(body=DATA, until_close=True, headers={"Content-Length": "-5"}),
            RegistryMisbehaved,
            "registry.misbehaved",
        ),
        (
            Reply(body=gzip.compress(DATA), headers={"Content-Encoding": "gzip"}),
            RegistryMisbehaved,
            "registry.misbehaved",
        ),
    ],
    ids=["other", "short", "long", "short-chunks", "cut", "broken-off", "more", "length", "negative", "compressed"],
)
def test_t15_blob_of_other_bytes(liar: Liar, reply: Reply, refusal: type[PhtError], code: str) -> None:
    liar.says("GET", BLOB_PATH, reply)
    with pytest.raises(refusal) as caught:
        fetch(liar.client())
    assert code_of(caught.value) == code


def test_t15_blob_without_end(liar: Liar) -> None:
    liar.says("GET", BLOB_PATH, Reply(body=endless()))
    with pytest.raises(BudgetExceeded) as caught:
        fetch(liar.client())
    assert code_of(caught.value) == "malformed.too-large"


def test_t15_manifest_without_end(liar: Liar) -> None:
    liar.says("GET", TAG_PATH, Reply(body=endless(), headers=TYPED))
    with pytest.raises(RegistryMisbehaved):
        liar.client().get_manifest(REPO, Tag("t"))


def test_t15_error_without_end(liar: Liar) -> None:
    liar.says("GET", TAG_PATH, Reply(status=500, body=endless()))
    with pytest.raises(RegistryUnavailable):
        liar.client().get_manifest(REPO, Tag("t"))


def test_t15_silence(liar: Liar) -> None:
    stopped = threading.Event()

    def silent() -> Iterator[bytes]:
        yield DATA[:1]
        stopped.wait(30)

    liar.says("GET", BLOB_PATH, Reply(body=silent()))
    try:
        with pytest.raises(RegistryUnavailable) as caught:
            fetch(liar.client(read_timeout=0.3))
    finally:
        stopped.set()
    assert code_of(caught.value) == "registry.unavailable"


def test_t15_trickle(liar: Liar) -> None:
    stopped = threading.Event()

    def drops() -> Iterator[bytes]:
        while not stopped.wait(0.05):
            yield b"."

    liar.says("GET", TAG_PATH, Reply(body=drops(), headers=TYPED))
    try:
        with pytest.raises(RegistryUnavailable) as caught:
            liar.client(read_timeout=0.5).get_manifest(REPO, Tag("t"))
    finally:
        stopped.set()
    assert code_of(caught.value) == "registry.unavailable"


def _forever(start: bytes, piece: bytes, pause: float = 0.0) -> Callable[[socket.socket, threading.Event], None]:
    def serve(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(1 << 16)
        connection.sendall(start)
        while not stopped.wait(pause):
            connection.sendall(piece)

    return serve


_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "serve",
    [
        _forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        _forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
        _forever(b"HTTP/1.1 200 ", b"O", 0.05),
        _forever(b"HTTP/1.1 200 OK\r\n", b"A: " + b"b" * 60_000 + b"\r\n"),
        _forever(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.05),
        _forever(_CHUNKED, b"0", 0.05),
        _forever(_CHUNKED + b"0\r\n", b"A: b\r\n"),
        _forever(_CHUNKED + b"0\r\n", b"A: b\r\n", 0.05),
        _forever(_CHUNKED + b"1;" + b"x" * 60_000, b"x" * 60_000),
        _forever(b"SSH-2.0-", b"x\r\n"),
    ],
    ids=[
        "interim",
        "slow-interim",
        "slow-line",
        "headers",
        "slow-headers",
        "slow-size",
        "trailers",
        "slow-trailers",
        "extensions",
        "no-http",
    ],
)
def test_t15_a_head_without_end(serve: Callable[[socket.socket, threading.Event], None]) -> None:
    """Every byte comes in time, and the answer never does: a station that waited for it would do nothing else."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError), server.accept()[0] as connection:
                    serve(connection, stopped)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        origin = Origin.from_text(f"http://127.0.0.1:{server.getsockname()[1]}")
        registry = HttpRegistry(Http(origin, timeouts=Timeouts(connect=5.0, read=0.5)), prefix=None)
        try:
            with pytest.raises(RegistryUnavailable) as caught:
                registry.list_tags(REPO)
        finally:
            stopped.set()
            with contextlib.suppress(OSError):
                socket.create_connection(server.getsockname(), timeout=1).close()
            thread.join()
    assert code_of(caught.value) == "registry.unavailable"


def test_t15_words_of_the_server_are_not_repeated(liar: Liar) -> None:
    words = json.dumps({"errors": [{"code": "canary", "message": "canary", "detail": "canary"}]}).encode()
    liar.says("GET", TAG_PATH, Reply(status=418, body=words))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client().get_manifest(REPO, Tag("t"))
    assert code_of(caught.value) == "registry.misbehaved"


# --- manifests and tags ----------------------------------------------------------------------------------------------


def test_t15_swapped_manifest(liar: Liar) -> None:
    other = make_manifest(config=EMPTY, layers=[])
    liar.says("GET", f"/v2/{REPO}/manifests/{MANIFEST.digest}", Reply(body=other.raw, headers=TYPED))
    with pytest.raises(DigestMismatch) as caught:
        liar.client().get_manifest(REPO, MANIFEST.digest)
    assert code_of(caught.value) == "digest.mismatch"


@pytest.mark.parametrize("claimed", [str(digest_of(b"other")), "sha512:abc", "x" * 5000])
def test_t15_manifest_with_a_false_digest_header(liar: Liar, claimed: str) -> None:
    liar.says("GET", TAG_PATH, Reply(body=MANIFEST.raw, headers={**TYPED, "Docker-Content-Digest": claimed}))
    with pytest.raises(DigestMismatch):
        liar.client().get_manifest(REPO, Tag("t"))


@pytest.mark.parametrize("kind", ["text/html", OCI_INDEX, ""])
def test_t15_manifest_of_another_type(liar: Liar, kind: str) -> None:
    liar.says("GET", TAG_PATH, Reply(body=MANIFEST.raw, headers={"Content-Type": kind}))
    with pytest.raises(RegistryMisbehaved):
        liar.client().get_manifest(REPO, Tag("t"))


@pytest.mark.parametrize("headers", [{"Content-Type": OCI_INDEX}, TYPED])
def test_t17_manifest_that_cannot_be_one_is_not_read(liar: Liar, headers: dict[str, str]) -> None:
    """By its type, or by its own account of its length: the body never comes, and is not missed."""
    liar.says("GET", TAG_PATH, Reply(headers=headers, length=MAX_MANIFEST + 1))
    with pytest.raises(RegistryMisbehaved):
        liar.client().get_manifest(REPO, Tag("t"))


def _tags(*names: str) -> bytes:
    return json.dumps({"name": str(REPO), "tags": list(names)}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"tags": ["t"]}',
        b'{"name": "mailbox/other", "tags": ["t"]}',
        b'{"name": "mailbox/hospital-a", "tags": ["../../x"]}',
        b'{"name": "mailbox/hospital-a", "tags": [5]}',
        b'{"name": "mailbox/hospital-a", "tags": "t"}',
        b'{"name": "mailbox/hospital-a", "tags": ["t"], "tags": []}',
    ],
)
def test_t15_tags_that_are_none(liar: Liar, body: bytes) -> None:
    liar.says("GET", TAGS_PATH, Reply(body=body))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client().list_tags(REPO)
    assert code_of(caught.value) == "registry.misbehaved"


def test_t15_pages_of_tags_are_followed(liar: Liar) -> None:
    link = {"Link": f'<{TAGS_PATH}?last=b&n=2>; rel="next"'}
    liar.says("GET", TAGS_PATH, Reply(body=_tags("a", "b"), headers=link), Reply(body=_tags("c")))
    assert liar.client().list_tags(REPO) == (Tag("a"), Tag("b"), Tag("c"))
    assert liar.asked[1].path == f"{TAGS_PATH}?last=b&n=2"


def test_t15_pages_without_end(liar: Liar) -> None:
    link = {"Link": f'<{TAGS_PATH}?last=b>; rel="next"'}
    liar.says("GET", TAGS_PATH, Reply(body=_tags("a"), headers=link))
    with pytest.raises(RegistryMisbehaved):
        liar.client().list_tags(REPO)
    assert len(liar.asked) == 2


def test_t15_more_tags_than_anybody_needs(liar: Liar) -> None:
    link = {"Link": f'<{TAGS_PATH}?more>; rel="next"'}
    pages = [_tags(*(f"t{page}-{number}" for number in range(20_000))) for page in range(4)]
    liar.says("GET", TAGS_PATH, *(Reply(body=page, headers=link) for page in pages))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client().list_tags(REPO)
    assert code_of(caught.value) == "registry.misbehaved"


def test_t15_tag_list_without_end(liar: Liar) -> None:
    liar.says("GET", TAGS_PATH, Reply(body=endless(b'"tag",' * 4096)))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client().list_tags(REPO)
    assert code_of(caught.value) == "registry.too-long"


@pytest.mark.parametrize(
    "link",
    ['<{thief}/v2/x>; rel="next"', "<{thief}/v2/x>", "garbage", '<file:///x>; rel="next"', '<http://[>; rel="next"'],
)
def test_t15_next_page_somewhere_else(liar: Liar, thief: Liar, link: str) -> None:
    liar.says("GET", TAGS_PATH, Reply(body=_tags("a"), headers={"Link": link.format(thief=thief.url)}))
    with pytest.raises(RegistryMisbehaved) as caught:
        liar.client().list_tags(REPO)
    assert code_of(caught.value) == "registry.misbehaved"
    assert thief.asked == []


# --- ambiguous documents (T14) ---------------------------------------------------------------------------------------


def spoiled(**changes: Any) -> bytes:
    document = json.loads(MANIFEST.raw) | changes
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


LAYER = json.loads(MANIFEST.raw)["layers"][0]


@pytest.mark.parametrize(
    "raw",
    [
        spoiled(manifests=[]),
        spoiled(manifests=[LAYER]),
        spoiled(fsLayers=[]),
        spoiled(layers=[LAYER | {"urls": ["https://example.org/x"]}]),
        spoiled(layers=[LAYER | {"data": "e30="}]),
        spoiled(layers=[LAYER | {"size": -1}]),
        spoiled(layers=[LAYER | {"size": 1.0}]),
        spoiled(layers=[LAYER | {"size": "27"}]),
        spoiled(layers=[LAYER | {"size": True}]),
        spoiled(layers=[LAYER | {"digest": "sha256:" + "A" * 64}]),
        spoiled(layers=[LAYER | {"digest": "sha512:" + "a" * 128}]),
        spoiled(layers=[LAYER | {"digest": str(BLOB.digest) + "\n"}]),
        spoiled(layers=[LAYER | {"mediaType": "nonsense"}]),
        spoiled(layers=[LAYER] * 513),
        spoiled(layers=None),
        spoiled(config=None),
        spoiled(config=[]),
        spoiled(schemaVersion=1),
        spoiled(schemaVersion=None),
        spoiled(mediaType=None),
        spoiled(mediaType=OCI_INDEX),
        spoiled(mediaType=DOCKER_MANIFEST),
        spoiled(subject=LAYER),
        spoiled(annotations={"a": 1}),
        spoiled(extra=1),
    ],
)
def test_t14_ambiguous_manifest(liar: Liar, raw: bytes) -> None:
    liar.says("GET", TAG_PATH, Reply(body=raw, headers=TYPED))
    stored = liar.client().get_manifest(REPO, Tag("t"))
    with pytest.raises(MalformedArtifact) as caught:
        parse_manifest(stored.raw, stored.media_type)
    assert code_of(caught.value) == "malformed.artifact"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        MANIFEST.raw[:-1],
        MANIFEST.raw + b"{}",
        MANIFEST.raw[:-1] + b',"layers":[]}',
        MANIFEST.raw.replace(b'"size":27', b'"size":27,"size":28'),
        b"[" * 1000,
        b"\xff\xfe" + MANIFEST.raw,
    ],
)
def test_t14_manifest_that_is_not_strict_json(liar: Liar, raw: bytes) -> None:
    liar.says("GET", TAG_PATH, Reply(body=raw, headers=TYPED))
    stored = liar.client().get_manifest(REPO, Tag("t"))
    with pytest.raises(MalformedJson) as caught:
        parse_manifest(stored.raw, stored.media_type)
    assert code_of(caught.value) == "malformed.json"


def test_t14_manifest_announced_as_another_type(liar: Liar) -> None:
    liar.says("GET", TAG_PATH, Reply(body=MANIFEST.raw, headers={"Content-Type": DOCKER_MANIFEST}))
    stored = liar.client().get_manifest(REPO, Tag("t"))
    with pytest.raises(MalformedArtifact):
        parse_manifest(stored.raw, stored.media_type)


def test_t14_index_in_place_of_a_manifest() -> None:
    with pytest.raises(MalformedArtifact):
        parse_manifest(MANIFEST.raw, OCI_INDEX)


def test_t15_a_list_of_tags_in_pages_ends_in_time(liar: Liar) -> None:
    """Each page is in time, and there is always another."""
    pages = [
        Reply(
            body=b'{"name": "a", "tags": ["t%d"]}' % number,
            headers={"Content-Type": "application/json", "Link": f'</v2/a/tags/list?last=t{number}>; rel="next"'},
        )
        for number in range(50)
    ]
    liar.says("GET", "/v2/a/tags/list", *pages)
    with pytest.raises(RegistryListSlow, match="takes too long"):
        RetryingRegistry(liar.client(listing_seconds=0), sleep=lambda _: None).list_tags(Repository("a"))
    assert len(liar.asked) == 1
