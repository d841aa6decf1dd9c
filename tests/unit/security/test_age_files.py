"""Sealing and opening: who opens what, when a file counts as whole, and what is handed out on the way."""

from __future__ import annotations

import gc
import io
from typing import TYPE_CHECKING

import pytest

from security.age import (
    MAX_RECIPIENTS,
    HybridIdentity,
    PassphraseIdentity,
    PassphraseRecipient,
    Recipient,
    Stanza,
    X25519Identity,
    armored,
    dearmor,
    decrypt,
    encrypt,
    read_header,
)
from security.age.header import MAX_HEADER, write_header
from security.age.stream import AgeReader, AgeWriter
from security.errors import ArmorInvalid, HeaderInvalid, HeaderTampered, InvalidInput, NotARecipient, PayloadBroken
from tests.support.sealing import judge, open_seal, seal

if TYPE_CHECKING:
    from typing_extensions import Buffer

ME = X25519Identity.generate()


@pytest.mark.parametrize("kind", [HybridIdentity, X25519Identity])
def test_each_recipient_opens_and_nobody_else(kind: type[HybridIdentity | X25519Identity]) -> None:
    ours = [kind.generate() for _ in range(3)]
    sealed = seal(b"a result", *(identity.recipient for identity in ours))
    for identity in ours:
        assert open_seal(sealed, identity) == b"a result"
        assert open_seal(sealed, kind.generate(), identity) == b"a result"
    with pytest.raises(NotARecipient) as refusal:
        open_seal(sealed, kind.generate(), HybridIdentity.generate(), PassphraseIdentity(b"x"))
    assert refusal.value.code == "seal.not-a-recipient"


def test_as_many_recipients_as_allowed_can_be_read() -> None:
    ours = HybridIdentity.generate()
    sealed = seal(b"for all", *[ours.recipient] * MAX_RECIPIENTS)
    assert open_seal(sealed, ours) == b"for all"


def test_a_passphrase_opens() -> None:
    sealed = seal(b"a key", PassphraseRecipient(b"open sesame", log_n=4))
    assert open_seal(sealed, PassphraseIdentity(b"open sesame")) == b"a key"
    with pytest.raises(NotARecipient):
        open_seal(sealed, PassphraseIdentity(b"open barley"))


def test_more_work_than_allowed_is_refused_before_it_is_done() -> None:
    sealed = seal(b"a key", PassphraseRecipient(b"open sesame", log_n=5))
    with pytest.raises(HeaderInvalid, match="work factor"):
        open_seal(sealed, PassphraseIdentity(b"open sesame", max_log_n=4))


@pytest.mark.parametrize(
    "recipients",
    [
        [],
        [PassphraseRecipient(b"a", 4), PassphraseRecipient(b"b", 4)],
        [PassphraseRecipient(b"a", 4), ME.recipient],
        [HybridIdentity.generate().recipient, ME.recipient],
        [ME.recipient] * (MAX_RECIPIENTS + 1),
    ],
    ids=["none", "two-passphrases", "passphrase-and-key", "post-quantum-and-not", "too-many"],
)
def test_recipients_that_cannot_share_a_file(recipients: list[Recipient]) -> None:
    sink = io.BytesIO()
    with pytest.raises(InvalidInput):
        encrypt(sink, recipients)
    assert sink.getvalue() == b""


def test_stanzas_are_told() -> None:
    others = [HybridIdentity.generate() for _ in range(2)]
    sealed = seal(b"", *(identity.recipient for identity in others))
    reader = decrypt(io.BytesIO(sealed), others)
    assert [stanza.kind for stanza in reader.stanzas] == ["mlkem768x25519"] * 2
    assert read_header(io.BytesIO(sealed)).stanzas == reader.stanzas


def test_a_stanza_of_an_unknown_kind_is_passed_over() -> None:
    file_key = bytes(16)
    grease = Stanza(args=("x-grease", "b", "c"), body=bytes(48))
    header = write_header([grease, ME.recipient.wrap(file_key), grease], file_key)
    sink = io.BytesIO()
    with AgeWriter(sink, header, file_key) as writer:
        writer.write(b"fine")
    assert open_seal(sink.getvalue(), ME) == b"fine"


def test_a_header_of_another_file_key_is_refused() -> None:
    header = write_header([ME.recipient.wrap(bytes(16))], b"another file key")
    with pytest.raises(HeaderTampered) as refusal:
        decrypt(io.BytesIO(header + bytes(32)), [ME])
    assert refusal.value.code == "seal.header-mac"


class Endless(io.RawIOBase):
    """A hostile source: a good beginning, and then the same line for ever."""

    def __init__(self, start: bytes, line: bytes) -> None:
        super().__init__()
        self._start, self._line, self.served = start, line, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while len(self._start) < size:
            self._start += self._line * 1000
        data, self._start = self._start[:size], self._start[size:]
        self.served += len(data)
        return data


@pytest.mark.parametrize("line", [b"a", b"\n-> x\n", b"A" * 64 + b"\n"], ids=["no-line", "stanzas", "one-stanza"])
def test_an_endless_header_is_refused(line: bytes) -> None:
    source = Endless(b"age-encryption.org/v1\n-> x\n", line)
    with pytest.raises(HeaderInvalid, match="header is too long"):
        decrypt(source, [ME])
    assert source.served < 2 * MAX_HEADER


def test_a_given_up_file_is_never_whole() -> None:
    sink = io.BytesIO()

    def give_up() -> None:
        with encrypt(sink, [ME.recipient]) as writer:
            writer.write(bytes(2_200_000))
            msg = "disk on fire"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="disk"):
        give_up()
    verdict = judge(sink.getvalue(), ME)
    assert isinstance(verdict.error, PayloadBroken)


def test_a_forgotten_writer_does_not_finish_the_file() -> None:
    sink = io.BytesIO()
    writer = encrypt(sink, [ME.recipient])
    writer.write(b"half a result")
    del writer
    gc.collect()
    assert isinstance(judge(sink.getvalue(), ME).error, PayloadBroken)


def test_a_finished_file_takes_nothing_more() -> None:
    sink = io.BytesIO()
    writer = encrypt(sink, [ME.recipient])
    writer.close()
    size = len(sink.getvalue())
    writer.close()
    assert len(sink.getvalue()) == size
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"more")


def test_chunks_are_released_only_when_authentic() -> None:
    plain = b"".join(bytes([number]) * 65536 for number in range(40))
    sealed = bytearray(seal(plain, ME.recipient))
    sealed[-30 * 65552] ^= 1
    buffer = bytearray(b"-" * len(plain))
    reader, filled = decrypt(io.BytesIO(sealed), [ME]), 0

    def read_on() -> None:
        nonlocal filled
        while count := reader.readinto(memoryview(buffer)[filled:]):
            filled += count

    with pytest.raises(PayloadBroken):
        read_on()
    assert filled == 10 * 65536
    assert buffer[:filled] == plain[:filled]
    assert set(buffer[filled:]) == set(b"-")


def test_a_broken_file_stays_broken() -> None:
    reader = decrypt(io.BytesIO(seal(b"x" * 100, ME.recipient)[:-1]), [ME])
    for _ in range(3):
        with pytest.raises(PayloadBroken):
            reader.read(10)


def test_reading_nothing_is_not_the_end() -> None:
    reader = decrypt(io.BytesIO(seal(b"abc", ME.recipient)), [ME])
    assert reader.read(0) == b""
    assert reader.readall() == b"abc"
    assert reader.read(1) == b""


class Dripping(io.RawIOBase):
    """A source, and a sink, that take their time: three bytes at most."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.data = data

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        window = memoryview(buffer).cast("B")
        count = min(3, len(window), len(self.data))
        window[:count], self.data = self.data[:count], self.data[count:]
        return count

    def write(self, data: Buffer, /) -> int:
        piece = bytes(memoryview(data)[:3])
        self.data += piece
        return len(piece)


def test_short_reads_and_writes_lose_nothing() -> None:
    slow = Dripping()
    with encrypt(slow, [ME.recipient]) as writer:
        writer.write(b"drip" * 100)
    reader = decrypt(slow, [ME])
    assert isinstance(reader, AgeReader)
    assert reader.readall() == b"drip" * 100


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 96, 1000])
def test_armor_goes_round(size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    sink = io.BytesIO()
    with armored(sink) as inside:
        for at in range(0, size, 7):
            inside.write(data[at : at + 7])
    text = sink.getvalue()
    assert max(map(len, text.splitlines())) <= 64
    assert dearmor(io.BytesIO(b"\n \n" + text + b"\n\n")).read() == data


GOOD_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" " * 2000 + b"\n" + GOOD_ARMOR,
        b"\n" * 2000 + GOOD_ARMOR,
        GOOD_ARMOR + b"\n" * 2000,
        GOOD_ARMOR + GOOD_ARMOR,
        GOOD_ARMOR + b"x",
        GOOD_ARMOR.replace(b"YWdl", b"YWdl\nYWdl"),
        GOOD_ARMOR.replace(b"YWdl", b"YWf="),
        GOOD_ARMOR.replace(b"YWdl", b"YWdl" * 17),
        GOOD_ARMOR.replace(b"YWdl", b"A" * 5000),
        GOOD_ARMOR[:35] + b"A" * 40_000,
        GOOD_ARMOR[:-2],
        GOOD_ARMOR[:40],
    ],
)
def test_other_armor_is_refused_for_good(text: bytes) -> None:
    inside = dearmor(io.BytesIO(text))
    assert inside.readable()
    for _ in range(2):
        with pytest.raises(ArmorInvalid) as refusal:
            inside.readall()
        assert refusal.value.code == "seal.armor"


def test_readers_close_once_and_leave_their_source_open() -> None:
    source = io.BytesIO(seal(b"abc", ME.recipient))
    reader = decrypt(source, [ME])
    assert reader.readable()
    reader.close()
    reader.close()
    assert not source.closed
