"""How long does each round take, as its owner sees it?

`pht train follow TRAIN --watch 2>&1 | pace.py` hands on every line, and after the one by which a round is heard to be combined
says how long that round took. (The stations sign times to the minute only.) Standard library only.
"""

import re
import sys
import time

COMBINED = re.compile(r"\s*round\s+([0-9]+)\s+combine\s+\S+\s+passed\b")
DEPARTED = re.compile(r"\s*departure\s+\S+\s+passed\b")


def main() -> None:
    """Hand on, and measure."""
    began, heard = time.monotonic(), set[str]()
    for line in sys.stdin:
        sys.stdout.write(line)
        now = time.monotonic()
        if DEPARTED.match(line) and "depart" not in heard:
            print(f"  ... all on board, and departed, after {now - began:.1f} s")
            heard.add("depart")
            began = now
        combined = COMBINED.match(line)
        if combined and combined[1] not in heard:
            print(f"  ... round {combined[1]} took {now - began:.1f} s")
            heard.add(combined[1])
            began = now
        sys.stdout.flush()


if __name__ == "__main__":
    main()
