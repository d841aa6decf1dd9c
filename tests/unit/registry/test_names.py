"""Which names and addresses are taken, and which are not?"""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.http.auth import Credentials
from registry.layout import LayoutRegistry
from registry.names import (
    FolderLocation,
    HttpLocation,
    Origin,
    Repository,
    Tag,
    location,
)
from registry.open import Access, open_registry
from security.errors import InvalidInput


@pytest.mark.parametrize("text", ["a", "mailbox/hospital-a", "a.b/c_d/e__f/g--h", "0/1", "x" * 200])
def test_repository(text: str) -> None:
    assert Repository(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "A",
        "a b",
        "a/../b",
        "..",
        ".",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a\n",
        "ä",
        "x" * 201,
        "a/blobs",
        "blobs/a",
        "index.json",
        "a/oci-layout",
        "a/uploads",
        "tags",
        "manifests",
    ],
)
def test_no_repository(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Repository(text)
    assert caught.value.code == "input.invalid"


@pytest.mark.parametrize("text", ["a", "1.root.json", "_x", "A-b_c.d", "x" * 128])
def test_tag(text: str) -> None:
    assert Tag(text) == text


@pytest.mark.parametrize("text", ["", ".", "-a", "a/b", "a:b", "a b", "a\n", "x" * 129, "sha256:" + "a" * 64])
def test_no_tag(text: str) -> None:
    with pytest.raises(InvalidInput):
        Tag(text)


@pytest.mark.parametrize(
    ("text", "origin", "prefix", "loopback"),
    [
        ("https://registry.example.org", "https://registry.example.org", None, False),
        ("https://Registry.Example.org:443/", "https://registry.example.org", None, False),
        ("https://registry.example.org:5000/pht/pilot", "https://registry.example.org:5000", "pht/pilot", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000", None, True),
        ("http://127.9.9.9", "http://127.9.9.9", None, True),
        ("http://localhost/x", "http://localhost", "x", True),
        ("http://[::1]:5000", "http://[::1]:5000", None, True),
        ("http://localhost.example.org", "http://localhost.example.org", None, False),
        ("http://127.0.0.1.example.org", "http://127.0.0.1.example.org", None, False),
    ],
)
def test_http_location(text: str, origin: str, prefix: str | None, loopback: bool) -> None:
    place = location(text)
    assert isinstance(place, HttpLocation)
    assert (str(place.origin), place.prefix, place.origin.loopback) == (origin, prefix, loopback)
    assert location(str(place)) == place


@pytest.mark.parametrize("text", ["layout:/srv/registry", "layout:relative"])
def test_other_locations(text: str) -> None:
    place = location(text)
    assert isinstance(place, FolderLocation)
    assert str(place) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry.example.org",
        "docker.io/library/debian",
        "memory:",
        "ftp://x",
        "https://",
        "https:///x",
        "http://x:0x1",
        "http://x:99999",
        "https://x/?q",
        "https://x/#f",
        "https://x/A",
        "https://x\n",
        "https://ex ample",
        "layout:",
        "http://a@b",
        "https://exa_mple",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://x\\y",
        "http://-x",
    ],
)
def test_no_location(text: str) -> None:
    with pytest.raises(InvalidInput):
        location(text)


def test_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        location("https://hospital:canary@registry.example.org")
    assert "canary" not in f"{caught.value} {caught.value.fields} {caught.value.hint}"


@pytest.mark.parametrize("text", ["https://x/path", "https://x?q", "x", "https://a:b@x"])
def test_no_origin(text: str) -> None:
    with pytest.raises(InvalidInput):
        Origin.from_text(text)


def test_plain_http_only_on_this_machine_or_if_it_is_said() -> None:
    far = location("http://registry.example.org")
    with pytest.raises(InvalidInput) as caught:
        open_registry(far, sleep=_no_wait)
    assert "insecure" in str(caught.value.hint)
    open_registry(far, Access(insecure=True), sleep=_no_wait)
    open_registry(location("http://127.0.0.1:1"), sleep=_no_wait)


def _no_wait(seconds: float) -> None:
    raise AssertionError(seconds)


@pytest.mark.parametrize(("name", "password"), [("a:b", "x"), ("", "x"), ("a\n", "x"), ("a", "x\r\ny")])
def test_credentials_that_cannot_be_sent(name: str, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Credentials(username=name, password=password)
    assert caught.value.fields == {}


def test_password_has_no_repr() -> None:
    credentials = Credentials(username="a", password="canary")  # noqa: S106 - looked for in the repr
    assert "canary" not in f"{credentials!r} {credentials} {Access(credentials=credentials)!r}"


def test_folder_that_is_not_there_is_away(tmp_path: Path) -> None:
    registry = LayoutRegistry(tmp_path / "stick")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its code says it all
        registry.list_tags(Repository("a"))
    assert getattr(caught.value, "code", None) == "registry.unavailable"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:5610", "http://127.0.0.1:5610"),
        ("localhost:5000/pilot", "http://localhost:5000/pilot"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("registry.example.org", "https://registry.example.org"),
        ("registry.example.org:5000/pht", "https://registry.example.org:5000/pht"),
        ("/srv/registry", "layout:/srv/registry"),
    ],
)
def test_an_address_without_its_scheme_is_guessed(text: str, meant: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        location(text)
    assert caught.value.hint == f"did you mean {meant}?"
    location(meant)


@pytest.mark.parametrize("text", ["ftp://x", "nowhere", "me:secret@registry.example.org", "a b", "127.0.0.1:x"])
def test_what_is_no_address_at_all_is_not_guessed(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        location(text)
    assert "did you mean" not in str(caught.value.hint)
