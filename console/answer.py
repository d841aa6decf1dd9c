"""What does a command say when it is done: to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from security.encoding import Json
from security.errors import PhtError


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a command. `text` is for a person, without a final newline; `data` is what ``--json`` prints.

    `error` is for a command that has much to tell about why it failed: told after the answer, and the exit status is its.
    """

    text: str
    data: Mapping[str, Json]
    error: PhtError | None = None
