"""The example's own promises: exact sums in any order, bad rows refused, a wrong digit noticed, an attacker that is one."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from registry.blobs import BlobFolder
from registry.depot import Depot
from registry.layout import LayoutRegistry
from registry.port import Registry
from security.encoding import parse_json
from security.errors import PhtError, SealBroken, SignatureMissing
from security.ids import PartyId
from security.train.letters import open_parcel
from security.train.verify import verify_home
from station.gate.schema import compile_schema
from tests.support.examples import EXAMPLES, script
from tests.support.registries import RealRegistries
from tests.support.trains import MAIL, NOW, Train, consortium, train

EXAMPLE = EXAMPLES / "breast-cancer"
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c")
ALICE = PartyId("alice")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert script(EXAMPLE / "split.py", folder).status == 0
    return folder


class Room:
    """What the analysis finds below /pht, without a container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sums = path / "state" / "sums.json"
        self.sums.parent.mkdir()

    def run(self, data: Path, stop: int) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(self.path / "data", ignore_errors=True)
        shutil.copytree(data, self.path / "data" / "patients")
        (self.path / "context.json").write_text(json.dumps({"stop": stop}))
        places = {
            "PHT_DATA": self.path / "data",
            "PHT_STATE": self.path / "state",
            "PHT_CONTEXT": self.path / "context.json",
        }
        command = [sys.executable, str(EXAMPLE / "code" / "main.py")]
        environment = {name: str(place) for name, place in places.items()}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def travel(self, split: Path, route: Sequence[str]) -> bytes:
        for stop, hospital in enumerate(route):
            assert self.run(split / hospital, stop).returncode == 0
        return self.sums.read_bytes()


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_every_patient_is_in_one_hospital(split: Path) -> None:
    rows = [(split / name / "patients.csv").read_text().splitlines()[1:] for name in HOSPITALS]
    assert [len(part) for part in rows] == [310, 171, 88]
    assert len({row for part in rows for row in part}) == 569


def test_the_order_of_the_hospitals_leaves_no_trace(split: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = Room(tmp_path / "one").travel(split, HOSPITALS)
    two = Room(tmp_path / "two").travel(split, HOSPITALS[::-1])
    assert one == two


def test_the_sums_give_what_pooling_gives_and_a_wrong_digit_does_not(split: Path, room: Room) -> None:
    raw = room.travel(split, HOSPITALS)
    schema = compile_schema(parse_json((EXAMPLE / "schemas" / "sums.json").read_bytes()), pattern="sums.json")
    schema.check(parse_json(raw))

    right = script(EXAMPLE / "evaluate.py", room.sums.parent)
    assert right.status == 0, right.out
    assert "agree to 1e-10: yes" in right.out

    document = json.loads(raw)
    products = document["diagnoses"]["benign"]["products"]
    products[7] = str(float(products[7]) * (1 + 1e-8))
    room.sums.write_text(json.dumps(document))
    wrong = script(EXAMPLE / "evaluate.py", room.sums.parent)
    assert wrong.status == 1
    assert "agree to 1e-10: NO" in wrong.out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace("benign,", "unclear,", 1), "line 2 is not"),
        (lambda text: text.replace(",10.49,", ",nan,", 1), "line 2 is not"),
        (lambda text: text.replace(",10.49,", ",1e3,", 1), "line 2 is not"),
        (lambda text: text.replace(",10.49,", ",,", 1), "line 2 is not"),
        (lambda text: text.replace("10.49,", "", 1), "line 2 is not"),
        (lambda text: text.replace("mean_radius,mean_texture", "mean_texture,mean_radius", 1), "expected columns"),
        (lambda text: "".join(text.splitlines(keepends=True)[:5]), "fewer than 10 patients"),
        (lambda _: "", "expected columns"),
    ],
)
def test_a_hospital_with_a_bad_row_adds_nothing(
    split: Path, room: Room, spoil: Callable[[str], str], said: str
) -> None:
    folder = room.path / "spoiled"
    folder.mkdir()
    whole = (split / "hospital-c" / "patients.csv").read_text()
    spoiled = spoil(whole)
    assert spoiled != whole
    (folder / "patients.csv").write_text(spoiled)
    ended = room.run(folder, 0)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert not room.sums.exists()


def test_sums_come_with_the_train_exactly_after_the_first_stop(split: Path, room: Room) -> None:
    assert room.run(split / "hospital-a", 1).returncode == 1
    assert room.run(split / "hospital-a", 0).returncode == 0
    before = room.sums.read_bytes()
    assert room.run(split / "hospital-a", 0).returncode == 1
    assert room.sums.read_bytes() == before


@pytest.fixture(params=["layout", pytest.param("http", marks=pytest.mark.registry)])
def reached(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Registry]]:
    """A registry, by its address and as ours."""
    if request.param == "layout":
        (tmp_path / "registry").mkdir()
        yield f"layout:{tmp_path / 'registry'}", LayoutRegistry(tmp_path / "registry")
    else:
        (tmp_path / "real").mkdir()
        real = RealRegistries(tmp_path / "real")
        yield real.address("http"), real.client("http")
        real.close()


def spool(path: Path, train: Train) -> BlobFolder:
    path.mkdir()
    blobs = BlobFolder(path)
    for digest, data in train.blobs.items():
        blobs.put(digest, len(data), io.BytesIO(data))
    return blobs


@pytest.mark.parametrize(("how", "error"), [("drop", SignatureMissing), ("alter", SealBroken)])
def test_what_the_attacker_puts_into_the_registry_is_refused(
    reached: tuple[str, Registry], tmp_path: Path, how: str, error: type[PhtError]
) -> None:
    address, registry = reached
    sent = train(consortium()).travel(3)
    blobs = spool(tmp_path / "spool", sent)
    depot = Depot(registry)
    depot.send(sent.parcel, blobs, to=ALICE, train=sent.id, stop=None)
    (arrival,) = depot.arrivals(ALICE)
    verify_home(open_parcel(depot.take(arrival, blobs), [MAIL]).parts, sent.world.trust, owner=ALICE, now=NOW)

    attack = script(EXAMPLE / "tamper.py", address, sent.id, how)
    assert attack.status == 0, attack.out
    (tampered,) = depot.arrivals(ALICE)
    assert tampered.tag == arrival.tag
    assert tampered.digest != arrival.digest
    parcel = depot.take(tampered, blobs)
    with pytest.raises(error):
        verify_home(open_parcel(parcel, [MAIL]).parts, sent.world.trust, owner=ALICE, now=NOW)
