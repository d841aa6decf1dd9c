"""What does a response of the distribution API mean, and who must act if it is an error?

Distribution specification 1.1, "Error Codes". Nothing that the server wrote enters our messages, except the error code.
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
_BAD_REQUEST: Final = 400
_CLEAR = re.compile(
    rb"HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS|speaking plain HTTP to an SSL"
)
_CODE = re.compile(r"[A-Z][A-Z_]{2,40}")
_NEXT = re.compile(r'<([\x21-\x3b\x3d\x3f-\x7e]{1,2000})> *; *rel="?next"?')
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]")
_LONGEST_WAIT: Final = 3600  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A small response, read whole. Header names are in lower case."""

    status: int
    url: str
    headers: Mapping[str, str] = field(hash=False)
    body: bytes

    @property
    def media_type(self) -> str:
        """What it says that it is."""
        return self.headers.get("content-type", "").partition(";")[0].strip()


def redacted(url: str) -> str:
    """Return a URL that may appear in messages: without account, query (upload states, tokens) and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no web address)"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _UNPRINTABLE.sub("?", shown)[:200]


def resolved(answer_url: str, target: str | None) -> str:
    """Resolve an address that a server gave against the one it was asked under. The result is not to be trusted yet."""
    try:
        return str(urljoin(answer_url, target or ""))
    except ValueError:
        return ""


def failure(method: str, answer: Answer) -> PhtError:
    """Return the error for a response that the request did not expect."""
    facts: dict[str, object] = {"request": method, "url": redacted(answer.url), "status": answer.status}
    code = _error_code(answer.body)
    if code is not None:
        facts["reason"] = code
    if code == "DIGEST_INVALID":
        return DigestMismatch("registry reports that the bytes do not match their digest", hint=None, **facts)
    if answer.status in REDIRECTS:
        return ForeignRedirect("unexpected redirect", hint=None, **facts)
    if answer.status in _BUSY:
        after = answer.headers.get("retry-after", "")
        if re.fullmatch(r"[0-9]{1,9}", after):
            facts["retry_after"] = min(int(after), _LONGEST_WAIT)
        return RegistryUnavailable("registry is temporarily unavailable", hint=None, **facts)
    if answer.status == _MISSING or code in {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"}:
        return NotInRegistry("not found in the registry", hint=None, **facts)
    if answer.status in _DENIED:
        return RegistryDenied("registry rejected our credentials, or does not allow this", hint=None, **facts)
    return RegistryMisbehaved("unexpected response from the registry", hint=None, **facts)


def asked_in_the_clear(answer: Answer) -> bool:
    """Whether this is how a server that speaks https refuses plain http: the words of Go's, nginx's and Apache's."""
    return answer.status == _BAD_REQUEST and answer.url.startswith("http:") and _CLEAR.search(answer.body) is not None


def content_length(headers: Mapping[str, str], url: str) -> int | None:
    """Return the announced length of a body, or None if there is none."""
    text = headers.get("content-length")
    if text is not None and re.fullmatch(r"[0-9]{1,15}", text) is None:
        msg = "invalid Content-Length in a response"
        raise RegistryMisbehaved(msg, url=redacted(url))
    return None if text is None else int(text)


def refuse_encoded(headers: Mapping[str, str], url: str) -> None:
    """Refuse a compressed response: identity was asked for, and a library would unpack a bomb (attack T17)."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        msg = "response is compressed, although identity was requested"
        raise RegistryMisbehaved(msg, url=redacted(url))


def next_page(answer: Answer) -> str | None:
    """Return the address of the next page (RFC 8288, ``rel="next"``), resolved; its origin has not been checked."""
    header = answer.headers.get("link")
    if header is None:
        return None
    found = _NEXT.fullmatch(header.strip())
    if found is None:
        msg = "invalid link to the next page"
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
