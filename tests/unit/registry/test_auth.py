"""Are challenges read strictly, and answered only where they may be?"""

from __future__ import annotations

import pytest

from registry.errors import ForeignRealm, RegistryDenied, RegistryMisbehaved
from registry.http.auth import Authority, Credentials, parse_challenges
from registry.names import Origin

HOME = Origin.from_text("https://registry.example.org")
ACCOUNT = Credentials(username="a", password="b")  # noqa: S106 - values in, values out
SCOPES = ("repository:x:pull",)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="r"', [("basic", {"realm": "r"})]),
        ("Basic realm=r", [("basic", {"realm": "r"})]),
        (
            'Bearer realm="https://a/t",service="s x",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s x", "scope": "repository:a/b:pull,push"})],
        ),
        ('bearer  REALM = "x" , error="e"', [("bearer", {"realm": "x", "error": "e"})]),
        (r'Basic realm="a\"b\\c"', [("basic", {"realm": 'a"b\\c'})]),
        ('Basic realm="r", Bearer realm="t"', [("basic", {"realm": "r"}), ("bearer", {"realm": "t"})]),
        ("Negotiate abc==, Basic realm=r", [("negotiate", {}), ("basic", {"realm": "r"})]),
        ('Negotiate, , Basic realm="r",', [("negotiate", {}), ("basic", {"realm": "r"})]),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, found.parameters) for found in parse_challenges(header)] == expected


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="x',
        'Bearer realm="x"y',
        'Bearer realm="x", realm="y"',
        'Bearer realm="x", REALM="y"',
        'Bearer realm="x" service="y"',
        'Bearer realm="a\x00b"',
        'Bearer ="x"',
        'Bearer realm="x", service=',
        '"x"',
        "Bearer @",
        "a," * 9,
        "x" * 8193,
    ],
)
def test_challenges_that_cannot_be_read(header: str) -> None:
    with pytest.raises(RegistryMisbehaved) as caught:
        parse_challenges(header)
    assert caught.value.code == "registry.misbehaved"


class Service:
    """A token service that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    def fetch(self, url: str, authorization: str | None) -> bytes:
        self.asked.append((url, authorization))
        return b'{"token": "t%d"}' % len(self.asked)


def authority(service: Service, *, credentials: Credentials | None = ACCOUNT, named: tuple[str, ...] = ()) -> Authority:
    origins = tuple(Origin.from_text(text) for text in named)
    return Authority(HOME, credentials=credentials, token_origins=origins, fetch=service.fetch)


def test_token_is_fetched_once_per_scope_and_again_when_refused() -> None:
    service = Service()
    us = authority(service, named=("https://registry.example.org:8443",))
    challenges = parse_challenges('Bearer realm="https://registry.example.org:8443/t?x=1",service="a b"')
    assert us.header(SCOPES) is None
    assert us.answer(challenges, SCOPES, refused=None) == "Bearer t1"
    assert us.header(SCOPES) == "Bearer t1"
    assert us.header(("repository:y:pull",)) is None
    assert us.answer(challenges, SCOPES, refused="Bearer t1") == "Bearer t2"
    url = "https://registry.example.org:8443/t?x=1&service=a+b&scope=repository%3Ax%3Apull"
    assert service.asked == [(url, ACCOUNT.header()), (url, ACCOUNT.header())]


def test_anonymous_token() -> None:
    service = Service()
    us = authority(service, credentials=None)
    us.answer(parse_challenges('Bearer realm="https://registry.example.org/t"'), SCOPES, refused=None)
    assert service.asked == [("https://registry.example.org/t?scope=repository%3Ax%3Apull", None)]


@pytest.mark.parametrize(
    "realm",
    [
        "http://registry.example.org/t",
        "https://registry.example.org:8443/t",
        "https://evil.example.org/t",
        "https://registry.example.org.evil.org/t",
        "https://registry.example.org@evil.org/t",
        "https://auth.example.org:8443/t",
        "http://auth.example.org/t",
        "javascript:x",
    ],
)
def test_foreign_realm(realm: str) -> None:
    service = Service()
    us = authority(service, named=("https://auth.example.org",))
    with pytest.raises(ForeignRealm) as caught:
        us.answer(parse_challenges(f'Bearer realm="{realm}"'), SCOPES, refused=None)
    assert caught.value.code == "registry.foreign-realm"
    assert service.asked == []


def test_two_token_services_are_ambiguous() -> None:
    challenges = parse_challenges('Bearer realm="https://registry.example.org/a", Bearer realm="https://x/b"')
    with pytest.raises(RegistryMisbehaved):
        authority(Service()).answer(challenges, SCOPES, refused=None)


def test_basic_once_and_not_again() -> None:
    us = authority(Service())
    challenges = parse_challenges('Basic realm="r"')
    header = us.answer(challenges, SCOPES, refused=None)
    assert header == us.header(("other",)) == "Basic YTpi"
    with pytest.raises(RegistryDenied):
        us.answer(challenges, SCOPES, refused=header)


@pytest.mark.parametrize("header", ["", "Negotiate", 'Digest realm="r"'])
def test_unknown_ways(header: str) -> None:
    with pytest.raises(RegistryDenied):
        authority(Service()).answer(parse_challenges(header), SCOPES, refused=None)


def test_no_account() -> None:
    with pytest.raises(RegistryDenied) as caught:
        authority(Service(), credentials=None).answer(parse_challenges("Basic realm=r"), SCOPES, refused=None)
    assert caught.value.code == "registry.denied"
