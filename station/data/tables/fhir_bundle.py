"""What is in one page of a search's result?

FHIR R4, "Search" and "Bundle". The server is not believed: a page is what was asked for, or
an error; nothing that it wrote enters a message, except a word that the specification lists (attack T20).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from security.encoding import Json
from security.errors import PhtError
from station.data.tables.fhir_path import Object
from station.errors import DataSourceUnavailable, DataUnfit

_PASSING: Final = frozenset({"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"})
_LASTING: Final = frozenset(
    {
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "security",
        "login",
        "unknown",
        "expired",
        "forbidden",
        "suppressed",
        "processing",
        "not-supported",
        "duplicate",
        "multiple-matches",
        "not-found",
        "deleted",
        "too-long",
        "code-invalid",
        "extension",
        "too-costly",
        "business-rule",
        "conflict",
        "informational",
    }
)
_STOPS: Final = frozenset({"fatal", "error"})
_FORM: Final = frozenset(
    {
        "_sort",
        "_count",
        "_include",
        "_revinclude",
        "_summary",
        "_total",
        "_elements",
        "_contained",
        "_containedType",
        "_format",
        "_pretty",
    }
)
"""Parameters about the form of a result, not about what is in it."""
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")

_NO_RESOURCE: Final = "a FHIR server answered with something else than a resource"
_NO_PAGE: Final = "a FHIR server answered with something else than a page of results"
_NOTHING: Final = "an entry of a page holds no resource"
_ANOTHER: Final = "a page holds a resource of another type than was asked for"
_TWO: Final = "a page holds two resources of one name"
_NO_ID: Final = "a resource of a page has no id"
_FORMLESS: Final = "a page of results is not in the form of R4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: resources that match, those linked to them by what references call them, and what it says of the whole."""

    matches: tuple[Object, ...]
    linked: Mapping[str, Object] = field(hash=False)
    next: str | None
    own: str | None
    total: int | None
    time: str | None


def read_page(document: Json, *, type: str, about: str) -> Page:  # noqa: A002 # the specification's word
    """Read a page of a search for resources of a type.

    Raises:
        DataSourceUnavailable: the server says that it cannot now.
        DataUnfit: it says that it never can, or this is no page, or there is something else in it.
    """
    if not isinstance(document, dict):
        raise _unfit(_NO_RESOURCE, about)
    if document.get("resourceType") == "OperationOutcome":
        raise outcome(document, about)
    if document.get("resourceType") != "Bundle" or document.get("type") != "searchset":
        raise _unfit(_NO_PAGE, about)
    matches: list[Object] = []
    linked: dict[str, Object] = {}
    for entry in _objects(document, "entry", about):
        resource, matching = _entry(entry, type, about)
        if resource is None:
            continue
        for name in (f"{resource.get('resourceType')}/{resource.get('id')}", entry.get("fullUrl")):
            if isinstance(name, str) and linked.setdefault(name, resource) != resource:
                raise _unfit(_TWO, about)
        if matching:
            matches.append(resource)
    links = _links(document, about)
    return Page(
        matches=tuple(matches),
        linked=linked,
        next=links.get("next"),
        own=links.get("self"),
        total=_total(document, about),
        time=_time(document),
    )


def _entry(entry: Object, type: str, about: str) -> tuple[Object | None, bool]:  # noqa: A002 # the specification's word
    """Return the resource of an entry, None for a remark of the server, and whether it is one that was searched for."""
    resource, mode = entry.get("resource"), _mode(entry)
    if not isinstance(resource, dict):
        raise _unfit(_NOTHING, about)
    kind, name = resource.get("resourceType"), resource.get("id")
    if kind == "OperationOutcome" and mode in {"outcome", None}:
        if severities(resource) & _STOPS:
            raise outcome(resource, about)
        return None, False  # what of the search was not understood shows in the link to itself
    if mode == "outcome" or (mode != "include" and kind != type):
        raise _unfit(_ANOTHER, about)
    if not isinstance(name, str) or _ID.fullmatch(name) is None:
        raise _unfit(_NO_ID, about)
    return resource, mode != "include"


def outcome(document: Object, about: str) -> PhtError:
    """Return the error that an OperationOutcome stands for."""
    issues = document.get("issue")
    codes = [one.get("code") for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    known = sorted({str(one) for one in codes if one in _PASSING | _LASTING})
    told: dict[str, object] = {"data": about, **({"issue": " ".join(known)} if known else {})}
    if known and all(one in _PASSING for one in known):
        msg = "a FHIR server cannot answer now"
        return DataSourceUnavailable(msg, hint="the train waits, and all of it is read again", **told)
    msg = "a FHIR server cannot answer the search"
    return DataUnfit(msg, hint="try the search at the server, and see its log", **told)


def severities(document: Object) -> frozenset[str]:
    """Return how bad the issues of an OperationOutcome are; one that does not say so is an error."""
    issues = document.get("issue")
    found = [one.get("severity") for one in issues if isinstance(one, dict)] if isinstance(issues, list) else []
    return frozenset(str(one) for one in found) or frozenset({"error"})


def overlooked(search: str, own: str | None) -> bool:
    """Whether a server has left out a criterion of a search, going by the link that tells what it did ("Server Conformance")."""
    try:
        told = Counter(name for name, _ in parse_qsl(urlsplit(own or "").query, keep_blank_values=True))
    except ValueError:
        return True
    asked = Counter(
        name for name, _ in parse_qsl(search, keep_blank_values=True) if name.partition(":")[0] not in _FORM
    )
    return bool(asked - told)


def inner(resource: Object, name: str) -> Object | None:
    """Return a resource that another one contains."""
    contained = resource.get("contained")
    every = contained if isinstance(contained, list) else []
    return next((one for one in every if isinstance(one, dict) and one.get("id") == name), None)


def _mode(entry: Object) -> Json:
    search = entry.get("search")
    return search.get("mode") if isinstance(search, dict) else None


def _objects(document: Object, name: str, about: str) -> list[dict[str, Json]]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _unfit(_FORMLESS, about)
    return [one for one in found if isinstance(one, dict)]


def _links(document: Object, about: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in _objects(document, "link", about):
        relation, url = one.get("relation"), one.get("url")
        if not isinstance(relation, str) or not isinstance(url, str) or relation in found:
            raise _unfit(_FORMLESS, about)
        found[relation] = url
    return found


def _total(document: Object, about: str) -> int | None:
    found = document.get("total")
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or found < 0):
        raise _unfit(_FORMLESS, about)
    return found


def _time(document: Object) -> str | None:
    meta = document.get("meta")
    found = meta.get("lastUpdated") if isinstance(meta, dict) else None
    return found if isinstance(found, str) else None


def _unfit(msg: str, about: str) -> DataUnfit:
    return DataUnfit(msg, data=about, hint="is 'server' the base address of a FHIR R4 server?")
