"""Do requests go through the proxy the environment names, and those to this machine never?"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from registry.check import put_bytes
from registry.errors import RegistryDenied, RegistryUnavailable
from registry.http.proxies import Proxies
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.http.terms import Timeouts, Trust
from registry.names import HttpLocation, Origin, Repository, location
from registry.server.config import ServerSettings
from registry.server.process import down, up
from security.errors import InvalidInput, PhtError
from security.ids import PartyId
from tests.support.certificates import Authority
from tests.support.desk import in_a_process
from tests.support.proxy import WebProxy
from tests.support.registries import RealRegistries

FAR = "registry.hospitals.invalid"  # RFC 6761: nobody resolves it, but our proxy
PASSWORD = "proxy-canary"  # noqa: S105 - looked for in what is told
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def proxied() -> Iterator[Callable[..., WebProxy]]:
    made: list[WebProxy] = []

    def make(target: str, *, account: str | None = None) -> WebProxy:
        made.append(WebProxy(target, account=account))
        return made[-1]

    yield make
    for one in made:
        one.close()


def client(address: str, environment: Mapping[str, str], trust: Trust | None = None) -> HttpRegistry:
    place = location(address)
    assert isinstance(place, HttpLocation)
    proxies = Proxies.of_environment(environment)
    http = Http(place.origin, trust=trust, timeouts=Timeouts(connect=5, read=20), proxies=proxies)
    return HttpRegistry(http, prefix=None)


def fresh() -> Repository:
    return Repository(f"test/p{secrets.token_hex(6)}")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_registry_elsewhere_is_reached_through_the_proxy(
    real_registries: RealRegistries, proxied: Callable[..., WebProxy], variable: str
) -> None:
    proxy, repo = proxied(real_registries.address("http")), fresh()
    put_bytes(client(f"http://{FAR}:5000", {variable: f"http://{proxy.address}"}), repo, b"far", "text/plain")
    assert any(line.startswith(f"PUT http://{FAR}:5000/v2/{repo}/blobs/uploads/") for line in proxy.seen)
    assert all(f" http://{FAR}:5000/v2/" in line for line in proxy.seen)
    near = real_registries.client("http")
    assert put_bytes(near, repo, b"far", "text/plain").size == 3


def test_what_no_proxy_names_is_reached_directly(
    real_registries: RealRegistries, proxied: Callable[..., WebProxy]
) -> None:
    proxy = proxied(real_registries.address("http"))
    for exempt in (FAR, "hospitals.invalid", ".invalid", "*", f"x.example, {FAR}:5000"):
        registry = client(f"http://{FAR}:5000", {"http_proxy": proxy.address, "no_proxy": exempt})
        with pytest.raises(RegistryUnavailable):  # which shows that it was looked for, and not at the proxy
            registry.list_tags(fresh())
    assert proxy.seen == []
    client(f"http://{FAR}:5000", {"http_proxy": proxy.address, "no_proxy": "ospitals.invalid"}).list_tags(fresh())
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_never_asked_through_a_proxy(
    real_registries: RealRegistries, proxied: Callable[..., WebProxy], host: str
) -> None:
    proxy = proxied(real_registries.address("http"))
    everything = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy.address)
    near = real_registries.address("http").replace("127.0.0.1", host)
    assert client(near, everything).list_tags(fresh()) == ()
    assert proxy.seen == []


@pytest.mark.registry
def test_https_is_tunnelled_and_the_certificate_is_the_registrys(
    tmp_path: Path, proxied: Callable[..., WebProxy]
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue(FAR)
    state = tmp_path / "registry"
    try:
        server = up(ServerSettings(state=state, certificate=certificate, key=key), sleep=time.sleep)
        proxy = proxied(server.address, account=f"us:{PASSWORD}")
        environment = {"https_proxy": f"http://us:{PASSWORD}@{proxy.address}", "http_proxy": DEAD}
        put_bytes(client(f"https://{FAR}", environment, Trust(ca_file=authority.file)), fresh(), b"x", "text/plain")
    finally:
        down(state, sleep=time.sleep)
    assert set(proxy.seen) == {f"CONNECT {FAR}:443"}


def test_what_a_proxy_does_is_told_without_its_password(
    real_registries: RealRegistries, proxied: Callable[..., WebProxy]
) -> None:
    proxy = proxied(real_registries.address("http"), account="us:another")
    told: list[PhtError] = []
    for name, address in (
        ("https", f"http://us:{PASSWORD}@{proxy.address}"),  # 407 to CONNECT
        ("http", f"http://us:{PASSWORD}@127.0.0.1:9"),  # nobody there
    ):
        with pytest.raises(RegistryUnavailable) as unavailable:
            client(f"{name}://{FAR}", {f"{name}_proxy": address}).list_tags(fresh())
        assert unavailable.value.fields["proxy"] == address.rpartition("@")[2]
        assert "no_proxy" in str(unavailable.value.hint)
        told.append(unavailable.value)
    with pytest.raises(RegistryDenied) as denied:
        client(f"http://{FAR}", {"http_proxy": f"us:{PASSWORD}@{proxy.address}"}).list_tags(fresh())
    assert denied.value.fields["status"] == 407
    for address in (f"socks5://us:{PASSWORD}@proxy:1080", f"http://us:/{PASSWORD}@proxy:1", f"http://proxy/{PASSWORD}"):
        with pytest.raises(InvalidInput) as invalid:
            client(f"http://{FAR}", {"http_proxy": address}).list_tags(fresh())
        told.append(invalid.value)
    shown = "".join(f"{one!r}{one}{one.fields}{one.hint}" for one in [*told, denied.value])
    assert PASSWORD not in shown
    assert PASSWORD not in repr(Proxies.of_environment({"http_proxy": f"http://us:{PASSWORD}@proxy"}))


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:5000", True),
        ("10.0.0.0/8", "http://11.1.2.3:5000", False),
        ("192.0.2.7", "https://192.0.2.7", True),
        ("2001:db8::/32", "https://[2001:db8::1]", True),
        ("*.example.org", "https://a.example.org", True),
        ("Example.ORG", "https://example.org", True),
        ("example.org", "https://badexample.org", False),
        ("example.org:444", "https://example.org", False),
        ("example.org:443", "https://example.org", True),
        ("", "https://example.org", False),
        (",,", "https://example.org", False),
    ],
)
def test_words_of_no_proxy(exempt: str, url: str, direct: bool) -> None:
    proxies = Proxies.of_environment({"all_proxy": "proxy:3128", "no_proxy": exempt})
    found = proxies.on_the_way_to(Origin.from_text(url))
    assert (found is None) is direct
    assert found is None or (found.address, found.shown) == ("http://proxy:3128", "proxy:3128")


def test_small_letters_win_and_an_empty_variable_says_none() -> None:
    proxies = Proxies.of_environment({"http_proxy": "", "HTTP_PROXY": "proxy:1", "https_proxy": "a:1", "all_proxy": ""})
    assert proxies.on_the_way_to(Origin.from_text("http://example.org")) is None
    far = proxies.on_the_way_to(Origin.from_text("https://example.org"))
    assert far is not None
    assert far.shown == "a:1"


def test_commands_take_the_proxy_from_their_environment(
    tmp_path: Path, real_registries: RealRegistries, proxied: Callable[..., WebProxy]
) -> None:
    proxy = proxied(real_registries.address("http"))
    dead = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), DEAD)
    party = PartyId("hospital-x")
    near = in_a_process(tmp_path, dead, "registry", "ls", real_registries.address("http"), party)
    assert near.exit == 0, near.err
    words = ("--registry-insecure", "registry", "ls", f"http://{FAR}:5000", party)
    far = in_a_process(tmp_path, {"http_proxy": f"http://us:{PASSWORD}@{proxy.address}"}, *words)
    assert far.exit == 0, far.err
    assert proxy.seen
    broken = in_a_process(tmp_path, {"http_proxy": f"socks5://us:{PASSWORD}@{proxy.address}"}, "-vv", *words)
    assert broken.exit == 40, broken.err
    assert PASSWORD not in far.out + far.err + broken.out + broken.err


def test_a_published_directory_is_fetched_through_the_proxy(
    tmp_path: Path, real_registries: RealRegistries, proxied: Callable[..., WebProxy]
) -> None:
    proxy = proxied(real_registries.address("http"))
    words = ("--registry-insecure", "directory", "pin", f"web:http://{FAR}/directory", "--fingerprint", "0" * 32)
    found = in_a_process(tmp_path, {"http_proxy": proxy.address}, *words, "-o", "pinned.json")
    assert found.exit in {10, 20, 40}, found.err
    assert proxy.seen == [f"GET http://{FAR}/directory/1.root.json"]
