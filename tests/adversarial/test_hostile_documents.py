"""Documents that are read before anybody is known to have signed them: they may cost what they weigh, and no more."""

from __future__ import annotations

import pytest

from security.encoding import MAX_BYTES, parse_json
from security.errors import MalformedJson
from security.statement.envelope import parse_envelope

_ENDLESS_STRINGS = {
    "quotes": b'"' + b'\\"' * (MAX_BYTES // 2 - 1),
    "backslashes": b'"' + b"\\" * (MAX_BYTES - 2),
    "after an opening": b'{"payload":"' + b'\\"' * (MAX_BYTES // 2 - 8),
}


@pytest.mark.parametrize("name", _ENDLESS_STRINGS)
def test_t23_a_string_that_never_ends_is_read_once(name: str) -> None:
    """Looked at again from every quote in it, one such document would keep a station busy for a day."""
    for parse in (parse_json, parse_envelope):
        with pytest.raises(MalformedJson) as caught:
            parse(_ENDLESS_STRINGS[name])
        assert caught.value.code == "malformed.json"


@pytest.mark.parametrize("hidden", [b'"\\"[', b'"\\\\"', b'"\\\\\\"[["', b'"[[[["'])
def test_t23_depth_is_counted_outside_of_strings_only(hidden: bytes) -> None:
    value = hidden if hidden.endswith(b'"') and hidden != b'"\\"[' else hidden + b'"'
    deep = b"[" * 23 + value + b"]" * 23
    inner = parse_json(deep)
    for _ in range(23):
        assert isinstance(inner, list)
        inner = inner[0]
    assert isinstance(inner, str)
    with pytest.raises(MalformedJson) as caught:
        parse_json(b"[" * 24 + b"[" + value + b"]" * 25)
    assert caught.value.message == "nested too deeply"
