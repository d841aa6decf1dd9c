"""What does one hospital add to the sums that travel?

Per part of the body: how many images, their heights and widths added up, and a histogram of their grey values. The reader gets mean
sizes and shares from these. Uncompressed images only: of those a few lines read what is needed, with the standard library alone;
runs in the base image `python`.
"""

import array
import csv
import json
import os
import pathlib
import struct
import sys
from collections.abc import Iterator

DATA = pathlib.Path(os.environ["PHT_DATA"]) / "scans"
STATE = pathlib.Path(os.environ["PHT_STATE"])

PARTS = ("CHEST", "HEAD")
BINS = 16
GREYS = 4096
"""The scanners write 12 bits."""
BITS_A_POINT = 16
LEAST_IMAGES = 5
"""Of each part in one hospital: the sums of fewer would say too much about each of them to the next hospital."""

LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UR", b"UT", b"UN", b"SV", b"UV"}
UNKNOWN, META = 0xFFFFFFFF, 2
IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
ROWS, COLUMNS, BITS, PIXELS, SYNTAX = 0x00280010, 0x00280011, 0x00280100, 0x7FE00010, 0x00020010


def elements(data: bytes, at: int, *, explicit: bool) -> Iterator[tuple[int, bytes, int]]:
    """Yield the tag, the value and the end of one element after the other."""
    while at < len(data):
        group, element, length = struct.unpack_from("<HHL", data, at)
        head = 8
        if explicit:
            kind = data[at + 4 : at + 6]
            (length,) = struct.unpack_from("<L" if kind in LONG else "<H", data, at + (8 if kind in LONG else 6))
            head = 12 if kind in LONG else 8
        if length == UNKNOWN:
            sys.exit("an image has parts of unknown length, which this analysis does not read")
        at += head + length
        yield group << 16 | element, data[at - length : at], at


def image(path: pathlib.Path) -> tuple[int, int, array.array]:
    """Return the height, the width and the grey values of an image."""
    data = path.read_bytes()
    syntax, start = b"", 132
    for tag, value, end in elements(data, 132, explicit=True):
        if tag >> 16 != META:
            break
        syntax, start = (value.rstrip(b"\0") if tag == SYNTAX else syntax), end
    if syntax not in {IMPLICIT, EXPLICIT}:
        sys.exit("an image is compressed, which this analysis does not read")
    found = {tag: value for tag, value, _ in elements(data, start, explicit=syntax == EXPLICIT)}
    rows, columns, bits = (struct.unpack("<H", found[tag])[0] for tag in (ROWS, COLUMNS, BITS))
    greys = array.array("H", found[PIXELS])
    if sys.byteorder == "big":
        greys.byteswap()
    if bits != BITS_A_POINT or len(greys) != rows * columns:
        sys.exit("an image is not of one frame with 16 bits a point")
    return rows, columns, greys


def nothing() -> dict:
    return {"images": 0, "rows": 0, "columns": 0, "histogram": [0] * BINS}


def main() -> None:
    kept = STATE / "sums.json"
    sums = json.loads(kept.read_text()) if kept.exists() else {part: nothing() for part in PARTS}
    with (DATA / "table.csv").open(encoding="utf-8", newline="") as text:
        listed = list(csv.DictReader(text))
    for part in PARTS:
        if sum(row["part"] == part for row in listed) < LEAST_IMAGES:
            sys.exit(f"fewer than {LEAST_IMAGES} images of a part of the body; their sums stay here")
    for row in listed:
        rows, columns, greys = image(DATA / row["file"])
        of = sums[row["part"]]
        of["images"] += 1
        of["rows"] += rows
        of["columns"] += columns
        for grey in greys:
            of["histogram"][min(grey, GREYS - 1) * BINS // GREYS] += 1
    kept.write_text(json.dumps(sums))


if __name__ == "__main__":
    main()
