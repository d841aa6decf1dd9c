"""What does an answer of the distribution API mean, and whose turn is it if it means trouble?

Distribution specification 1.1, "Error Codes". Of what the server wrote only the error's code gets into our messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

from registry.errors import ForeignRedirect, NotInRegistry, RegistryDenied, RegistryMisbehaved, RegistryUnavailable
from security.encoding import parse_json
from security.errors import DigestMismatch, MalformedJson, PhtError

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_DENIED: Final = frozenset({401, 403, 405, 407, 413})
_MISSING: Final = 404
_CODE = re.compile(r"[A-Z][A-Z_]{2,40}")
_NEXT = re.compile(r'<([\x21-\x3b\x3d\x3f-\x7e]{1,2000})> *; *rel="?next"?')
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_LONGEST_WAIT: Final = 3600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A small answer, read whole. Header names are in lower case."""

    status: int
    url: str
    headers: Mapping[str, str] = field(hash=False)
    body: bytes


def redacted(url: str) -> str:
    """Return a URL fit for messages: without account, query (upload states, tokens) and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no web address)"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _UNPRINTABLE.sub("?", shown)[:200]


def resolved(answer_url: str, target: str | None) -> str:
    """Return an address that a server gave, relative to the one that was asked; it is not yet to be trusted."""
    try:
        return str(urljoin(answer_url, target or ""))
    except ValueError:
        return ""


def failure(method: str, answer: Answer) -> PhtError:
    """Return the error for an answer that was not what the request is for."""
    facts: dict[str, object] = {"request": method, "url": redacted(answer.url), "status": answer.status}
    code = _error_code(answer.body)
    if code is not None:
        facts["reason"] = code
    if code == "DIGEST_INVALID":
        return DigestMismatch("registry says that the bytes are not the announced ones", hint=None, **facts)
    if answer.status in REDIRECTS:
        return ForeignRedirect("redirected where that is not allowed", hint=None, **facts)
    if answer.status in _BUSY:
        after = answer.headers.get("retry-after", "")
        if re.fullmatch(r"[0-9]{1,9}", after):
            facts["retry_after"] = min(int(after), _LONGEST_WAIT)
        return RegistryUnavailable("registry cannot answer now", hint=None, **facts)
    if answer.status == _MISSING or code in {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}:
        return NotInRegistry("registry does not have this", hint=None, **facts)
    if answer.status in _DENIED:
        return RegistryDenied("registry does not allow this", hint=None, **facts)
    return RegistryMisbehaved("registry's answer makes no sense", hint=None, **facts)


def content_length(headers: Mapping[str, str], url: str) -> int | None:
    """Return the announced length of a body, or None if there is none."""
    text = headers.get("content-length")
    if text is not None and re.fullmatch(r"[0-9]{1,15}", text) is None:
        msg = "length of an answer cannot be read"
        raise RegistryMisbehaved(msg, url=redacted(url))
    return None if text is None else int(text)


def refuse_encoded(headers: Mapping[str, str], url: str) -> None:
    """Refuse a compressed answer: identity was asked for, and a library would unpack a bomb (attack T17)."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        msg = "answer is compressed, although that was not asked for"
        raise RegistryMisbehaved(msg, url=redacted(url))


def next_page(answer: Answer) -> str | None:
    """Return the address of the next page (RFC 8288, ``rel="next"``), resolved and not yet checked for its origin."""
    header = answer.headers.get("link")
    if header is None:
        return None
    found = _NEXT.fullmatch(header.strip())
    if found is None:
        msg = "reference to the next page cannot be read"
        raise RegistryMisbehaved(msg, url=redacted(answer.url))
    return resolved(answer.url, found[1])


def _error_code(body: bytes) -> str | None:
    try:
        document = parse_json(body)
    except MalformedJson:
        return None
    errors = document.get("errors") if isinstance(document, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    code = str(first.get("code")) if isinstance(first, dict) else ""
    return code if _CODE.fullmatch(code) is not None else None
