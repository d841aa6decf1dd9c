"""What does the operator of the junction see of the hospitals' numbers, who keeps everything that comes and breaks no rule but that?

`curious.py keep STATION INTO` looks over the shoulder of a junction's daemon until it is told to stop: it keeps whatever passes through
its spool, and its keys for the trains under way. The daemon wipes both; whoever has the disk can be faster.

`curious.py look INTO STATION PASSPHRASE-FILE TRAIN` opens with all keys of the junction what the hospitals sent it for TRAIN, and asks
whether it can be told from noise: of random bits half are ones, and every value of a byte is as frequent as any other. The same is asked
of the files as they lay in the registry, sealed, and of the totals, so that one sees what is not noise. It fails if a hospital's numbers can be told.
"""

import contextlib
import io
import json
import math
import os
import signal
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

from security.age import Identity, decrypt
from security.errors import PhtError
from security.ids import TrainId
from security.keys.store import open_folder, read_passphrase
from station.house.passes import PassKeys

KEPT = ("spool", "passes")
EVERY = 0.02
BITS, FRACTION = 128, 48
WIDTH = BITS // 8
HEADER = 24
"""Bytes before the elements of a masked vector, of which the first is the check element: a 1 of every hospital."""
SUMS = ("score.json", "information.json", "deviance.json")
PATIENTS = ("deviance.json", 2)
"""In which of them, and where, stands the number of patients."""
IMPROBABLE = 1e-6


# --- Keeping ------------------------------------------------------------------------------------------------------------


def keep(station: Path, into: Path) -> None:
    """Keep a second name for each file that appears, so that it stays when the daemon removes its own."""
    told_to_stop, known = [], set[str]()
    signal.signal(signal.SIGTERM, lambda *_: told_to_stop.append(True))
    for name in KEPT:
        (into / name).mkdir(parents=True, exist_ok=True)
    while not told_to_stop:
        for name in KEPT:
            with contextlib.suppress(FileNotFoundError):
                for one in os.scandir(station / "state" / name):
                    if one.name not in known and not one.name.startswith("."):
                        os.link(one.path, into / name / one.name)
                        known.add(one.name)
        time.sleep(EVERY)


# --- Opening ------------------------------------------------------------------------------------------------------------


def opened(sealed: bytes, identity: Identity) -> dict[str, bytes]:
    """Return the files in something that was sealed for the junction; none if it is something else."""
    try:
        with decrypt(io.BytesIO(sealed), [identity]) as plain:
            found = io.BytesIO(plain.read())
        with tarfile.open(fileobj=found) as tar:
            return {name: source.read() for name in tar.getnames() if (source := tar.extractfile(name)) is not None}
    except (PhtError, tarfile.TarError):
        return {}


def elements(vector: bytes) -> list[int]:
    """Return the elements of a masked vector, as whole numbers below 2^128."""
    body = vector[HEADER:]
    return [int.from_bytes(body[at : at + WIDTH], "little") for at in range(0, len(body), WIDTH)]


def number(element: int) -> float:
    """Read an element as the number that it would stand for without masks."""
    signed = element - (1 << BITS) if element >> (BITS - 1) else element
    return signed / (1 << FRACTION)


# --- Noise --------------------------------------------------------------------------------------------------------------


def evenly(data: bytes) -> tuple[float, float]:
    """Return the share of ones among the bits, and how probable it is that chance alone strays as far as the bits, or bytes, do here.

    The chi-square of the bytes is compared with the normal distribution by the cube root (Wilson and Hilferty).
    """
    bits, ones = 8 * len(data), sum(byte.bit_count() for byte in data)
    of_bits = math.erfc(abs(2 * ones - bits) / math.sqrt(2 * bits))
    expected, values = len(data) / 256, Counter(data)
    chi = sum((values[value] - expected) ** 2 for value in range(256)) / expected
    z = ((chi / 255) ** (1 / 3) - (1 - 2 / (9 * 255))) / math.sqrt(2 / (9 * 255))
    of_bytes = math.erfc(z / math.sqrt(2)) / 2
    return ones / bits, min(1.0, 2 * min(of_bits, of_bytes))


def told(whose: str, data: bytes) -> float:
    """Print how even some bytes are, and return how probable that is for noise."""
    share, probability = evenly(data)
    verdict = "noise, as far as can be told" if probability > IMPROBABLE else "not noise"
    print(f"  {whose:34}{8 * len(data):>9} bits{100 * share:8.2f} % ones   p = {probability:<9.2g}{verdict}")
    return probability


# --- Looking ------------------------------------------------------------------------------------------------------------


def look(into: Path, station: Path, passphrase: Path, train: TrainId) -> bool:
    """Open what was kept, show it, and return whether all that is of one hospital alone is noise."""
    keys = open_folder(station / "keys", read_passphrase(passphrase))
    fresh = PassKeys(into / "passes").find(train, [keys.identity]).identity
    states = [one.read_bytes() for one in sorted((into / "spool").iterdir())]
    found = {sealed: files for sealed in states if (files := opened(sealed, fresh))}
    sent = {sealed: (json.loads(files["META.json"]), files) for sealed, files in found.items()}
    parts = sorted((meta["stop"], meta["sender"], files) for meta, files in sent.values() if set(SUMS) <= files.keys())
    hospitals = sorted({sender for _, sender, _ in parts})
    rounds = [parts[at : at + len(hospitals)] for at in range(0, len(parts), len(hospitals))]

    print(
        f"Its keys open {len(parts)} parts: {len(rounds)} rounds of {len(hospitals)} hospitals. What says how many patients each has:\n"
    )
    path, place = PATIENTS
    whole = 0
    for _, sender, files in rounds[0]:
        element = elements(files[path])[place]
        whole = (whole + element) % (1 << BITS)
        print(f"  {sender:12}{element:0{BITS // 4}x}  read as a number: {number(element):.6g}")
    print(f"  {'the sum':12}{whole:0{BITS // 4}x}  read as a number: {number(whole):.6g}")

    print(
        "\nAll elements of all rounds, by hospital; what lay in the registry; and the totals, which the junction is told:\n"
    )
    noise = [
        told(name, b"".join(files[one][HEADER:] for _, sender, files in parts if sender == name for one in SUMS))
        for name in hospitals
    ]
    noise.append(
        told(
            "the same files in the registry",
            b"".join(after_header(one) for one, (_, files) in sent.items() if set(SUMS) <= files.keys()),
        )
    )
    told("the totals", b"".join(totals(some) for some in rounds))
    return len(rounds) > 1 and whole % (1 << FRACTION) == 0 and min(noise) > IMPROBABLE


def after_header(sealed: bytes) -> bytes:
    """Return what is sealed of an age file, without the lines before it that say for how many."""
    return sealed[sealed.index(b"\n", sealed.index(b"\n---") + 1) + 1 :]


def totals(some: list[tuple[int, str, dict[str, bytes]]]) -> bytes:
    """Add up the elements of one round."""
    columns = zip(*([one for path in SUMS for one in elements(files[path])] for _, _, files in some), strict=True)
    return b"".join((sum(column) % (1 << BITS)).to_bytes(WIDTH, "little") for column in columns)


def main() -> None:
    """Keep, or look and say by the exit status whether it is noise."""
    command, *words = sys.argv[1:]
    if command == "keep":
        keep(Path(words[0]), Path(words[1]))
        return
    into, station, passphrase, train = words
    noise = look(Path(into), Path(station), Path(passphrase), TrainId(train))
    print(
        "\nhospital-a, where the parts are combined, knows its own numbers besides: of the two others it learns the sum, and of one nothing."
    )
    print(f"nobody's numbers can be told from noise: {'yes' if noise else 'NO'}")
    sys.exit(not noise)


if __name__ == "__main__":
    main()
