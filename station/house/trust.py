"""Which directory does a station work with now, when several steps want it at once and its place may be slow?

One question at a time is under way, in a thread of its own. Whoever needs the answer waits for it for some seconds, then
tries again later: a place that hangs must not take a worker with it.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Final

from security.directory.trust import TrustStore
from security.errors import DirectoryUnavailable, PhtError
from station.house.house import House, TrustLoader

PATIENCE_SECONDS: Final = 10.0


class FreshTrust:
    """A `TrustLoader` that asks again after some seconds, and in between gives what it has, as long as it is fresh."""

    def __init__(self, load: TrustLoader, *, seconds: int, patience: float = PATIENCE_SECONDS) -> None:
        self._load, self._seconds, self._patience = load, seconds, patience
        self._lock = threading.Lock()
        self._held: tuple[datetime, TrustStore] | None = None
        self._asking: _Question | None = None

    def __call__(self, now: datetime) -> TrustStore:
        """Return the directory; a clock that was turned back counts as much time.

        Raises:
            DirectoryUnavailable: its place does not answer, or what it has is out of date.
            DirectoryRejected: what is published cannot be believed.
        """
        with self._lock:  # an answer that has just come counts: it is there before the next question can be
            held = self._held
            if held is None or not 0 <= (now - held[0]).total_seconds() < self._seconds:
                question = self._asked(now)
            else:
                held[1].check_fresh(now)
                return held[1]
        return self._answer(question, now)

    def again(self, now: datetime) -> TrustStore:
        """Ask now, and return that."""
        with self._lock:
            question = self._asked(now)
        return self._answer(question, now)

    def _asked(self, now: datetime) -> _Question:
        """Return the question that is under way, or a new one. The lock is held."""
        if self._asking is None:
            self._asking = _Question(now)
            threading.Thread(target=self._ask, args=(self._asking,), name="directory", daemon=True).start()
        return self._asking

    def _answer(self, question: _Question, now: datetime) -> TrustStore:
        if not question.answered.wait(self._patience):
            msg = "the place of the directory does not answer"
            raise DirectoryUnavailable(msg, waited_seconds=int(self._patience))
        store = question.result()
        store.check_fresh(now)
        return store

    def at_hand(self) -> TrustStore | None:
        """Return the directory that was read last, however long ago, without asking anybody."""
        return None if self._held is None else self._held[1]

    def _ask(self, question: _Question) -> None:
        try:
            question.store = self._load(question.now)
            with self._lock:
                self._held = (question.now, question.store)
        except PhtError as error:
            question.error = error
        finally:
            with self._lock:
                self._asking = None
            question.answered.set()


class _Question:
    """What was asked, and the answer once it is there."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.answered = threading.Event()
        self.store: TrustStore | None = None
        self.error: PhtError | None = None

    def result(self) -> TrustStore:
        if self.error is not None:  # several threads wait for it, and each raises its own
            raise type(self.error)(self.error.message, hint=self.error.hint, **self.error.fields) from self.error
        if self.store is None:
            msg = "reading the directory ended with an internal error"
            raise DirectoryUnavailable(msg, hint="the log has the details")
        return self.store


def newest_trust(house: House, now: datetime) -> TrustStore:
    """Return the directory as it is published now, also where an older one is held that is still fresh."""
    return house.trust.again(now) if isinstance(house.trust, FreshTrust) else house.trust(now)


def trust_at_hand(house: House, now: datetime) -> TrustStore:
    """Return the directory that was read last: for watching runs, which must not wait for anybody (attack T19).

    Raises:
        DirectoryUnavailable: nothing was read yet, or what was read is out of date.
    """
    if not isinstance(house.trust, FreshTrust):
        return house.trust(now)
    store = house.trust.at_hand()
    if store is None:
        msg = "the directory was not read yet"
        raise DirectoryUnavailable(msg)
    store.check_fresh(now)
    return store


def trust_or_at_hand(house: House, now: datetime) -> TrustStore:
    """Return the directory, or the one read last while its place does not answer: for what gets plaintext out of the house's rooms.

    Nothing leaves before `newest_trust` was asked.

    Raises:
        DirectoryUnavailable: what was read last is out of date.
        DirectoryRejected: what is published cannot be believed.
    """
    try:
        return house.trust(now)
    except DirectoryUnavailable:
        return trust_at_hand(house, now)
