"""Write the frozen journeys anew. Not run by any test: a new set is a decision, and its diff is to be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from security.digest import digest_of  # noqa: E402 - after the path is set
from security.directory.documents import base_file, party_file, print_base, print_party, print_policy  # noqa: E402
from security.encoding import print_time  # noqa: E402
from security.errors import PhtError  # noqa: E402
from security.ids import PartyId  # noqa: E402
from security.keys.keyset import Scheme, generate  # noqa: E402
from security.statement.envelope import sign  # noqa: E402
from security.train.journey import StateRef  # noqa: E402
from security.train.verify import verify_home, verify_train  # noqa: E402
from tests.support.trains import NOW, Consortium, Train, consortium, train  # noqa: E402

Spoil = Callable[[Train], object]


def document(
    it: Train, about: str, here: str, *, home: bool = False, world: Consortium | None = None
) -> dict[str, object]:
    """Return one vector, with the verdict of this version."""
    trust = (world or it.world).trust
    try:
        if home:
            verify_home(it.parts, trust, owner=PartyId(here), now=NOW)
        else:
            verify_train(it.parts, trust, here=PartyId(here), now=NOW)
        verdict = "accepted"
    except PhtError as error:
        verdict = error.code
    documents = {party_file(name): print_party(party) for name, party in trust.parties.items()}
    documents |= {base_file(base.name): print_base(base) for base in trust.bases.values()}
    documents["policy.json"] = print_policy(trust.policy)
    return {
        "about": about,
        "here": here,
        "home": home,
        "now": print_time(NOW),
        "expires": print_time(trust.expires),
        "directory": {name: json.loads(raw) for name, raw in sorted(documents.items())},
        "manifest": json.loads(it.envelope.to_bytes()),
        "entries": [json.loads(entry.to_bytes()) for entry in it.entries],
        "code": {"digest": str(it.manifest.code.digest), "size": it.manifest.code.size},
        "state": None if it.state is None else {"digest": str(it.state.digest), "size": it.state.size},
        "expect": verdict,
    }


def main() -> None:
    """Write every vector."""
    world = consortium(schemes={"hospital-b": [Scheme.ED25519, Scheme.ML_DSA_65], "hospital-c": [Scheme.P256]})
    made: dict[str, dict[str, object]] = {}
    for stop, here in enumerate(("hospital-a", "hospital-b", "hospital-c")):
        made[f"accepted_at_stop_{stop}"] = document(train(world).travel(stop), f"an honest train at stop {stop}", here)
    made["accepted_at_home"] = document(train(world).travel(3), "an honest train at home", "alice", home=True)

    it = train(world)
    it.envelope = sign(it.envelope.payload, generate([Scheme.ED25519]).signers)
    made["t1_manifest_signed_by_a_stranger"] = document(it, "the owner's words under a stranger's key", "hospital-a")
    it = train(consortium()).travel(1)
    made["t1_all_keys_replaced"] = document(it, "consistent in itself, with other keys", "hospital-b", world=world)
    it = train(world).travel(2)
    it.entries, it.state = [], None
    made["t2_journey_dropped"] = document(it, "pretends to be at its first stop", "hospital-c")
    it, other = train(world).travel(1), train(world).travel(1)
    it.entries, it.state = other.entries, other.state
    made["t3_entry_of_another_train"] = document(it, "the same station's entry about another train", "hospital-b")
    it = train(world).travel(1)
    it.state = StateRef(digest=digest_of(b"other"), size=16640)
    made["t3_other_state"] = document(it, "another state beside a valid entry", "hospital-b")
    it = train(world).travel(2)
    it.entries.reverse()
    made["t4_stops_reordered"] = document(it, "entries in another order", "hospital-c")
    it = train(world).travel(2)
    made["t4_incomplete_at_home"] = document(it, "the last stop is missing", "alice", home=True)
    it = train(world, valid_until=NOW)
    made["t6_expired"] = document(it, "its time is over", "hospital-a")
    it = train(world)
    it.envelope = replace(it.envelope, payload=it.envelope.payload.replace(b"main.py", b"evil.py"))
    made["t11_command_changed"] = document(it, "one word of the signed manifest changed", "hospital-a")
    it = train(world, base=digest_of(b"unknown"))
    made["t12_unknown_base"] = document(it, "a base image nobody approved", "hospital-a")
    it = train(world).travel(2)
    it.entries[1] = replace(it.entries[1], signatures=it.entries[1].signatures[:1])
    made["t21_one_signature_stripped"] = document(it, "one of two required signatures is missing", "hospital-c")
    it = train(world).travel(1)
    revoked = replace(world, revoked={world.stop("hospital-a").key_set})
    made["t21_revoked_key_set"] = document(it, "a station on the way is revoked", "hospital-b", world=revoked)
    it = train(world).travel(1)
    stale = replace(world, expires=NOW - timedelta(days=1))
    made["t21_expired_directory"] = document(it, "the directory has expired", "hospital-b", world=stale)

    for name, value in made.items():
        path = HERE / "journeys" / f"{name}.json"
        path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
