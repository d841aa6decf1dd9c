"""What does a station read of a bucket, and what does it say if it cannot, could do more, or is sent elsewhere?"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from security.errors import DiskFull
from security.tables.parse import parse
from station.check import CheckResult
from station.data.tables.bucket import Bucket
from station.data.tables.s3 import S3Source
from station.data.tables.source import Spelling, Staged, Wanted
from station.errors import DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.buckets import ACCESS, BUCKET, KEYS, SECRET, Asked, Buckets, Gateway, Rule, Says, refusal
from tests.support.certificates import Authority
from tests.support.cutter import Cutter
from tests.support.proxy import WebProxy
from tests.support.tables import EVERY, NAMES, Narrow, Row, csv_of, parquet_of, selected_from, selection, table_in

ROOT = Path(__file__).parents[3]
ROWS: list[Row] = [
    {
        "patient": f"canary-{number}",
        "age": 40 + number,
        "height": 170.5,
        "sex": "f",
        "smokes": False,
        "note": None,
        "admitted": None,
        "left": None,
    }
    for number in range(30)
]
ALL = Wanted(columns=EVERY)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    file.chmod(0o600)
    return file


@pytest.fixture
def source(buckets: Buckets, keys: Path) -> S3Source:
    """Two objects that make the table, and others that do not."""
    buckets.empty()
    buckets.put("heart/a.csv", csv_of(ROWS[:10]).encode())
    buckets.put("heart/canary b+ü.csv", csv_of(ROWS[10:]).encode())
    for key in ("heart/deeper/c.csv", "heart2/a.csv", "heart/read me.txt", "a.csv"):
        buckets.put(key, b"something else")
    where = Bucket(endpoint=buckets.endpoint(), name=BUCKET, prefix="heart/", keys_file=keys)
    return S3Source(name="heart", bucket=where, pattern="*.csv")


def at(source: S3Source, endpoint: str, **changes: Any) -> S3Source:
    return replace(source, bucket=replace(source.bucket, endpoint=endpoint, **changes))


def only(source: S3Source) -> CheckResult:
    (found,) = source.check()
    need_silent(f"{found.detail} {found.hint}")
    return found


def need_silent(text: str) -> None:
    assert SECRET not in text
    assert "canary" not in text


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[S3Source], Staged]:
    numbers = iter(range(100))

    def staged(one: S3Source) -> Staged:
        into = tmp_path / f"stage-{next(numbers)}"
        into.mkdir()
        try:
            return one.stage(ALL, into)
        except (DataSourceUnavailable, DataUnfit) as error:
            need_silent(f"{error} {error.hint} {error.fields}")
            raise

    return staged


Stage = Callable[[S3Source], Staged]

# --- What is read ----------------------------------------------------------------------------------------------------


def test_a_bucket_that_can_only_be_read_is_in_order(source: S3Source, buckets: Buckets) -> None:
    found = only(at(source, buckets.endpoint("read-only")))
    assert found.ok, found
    assert "of 2 objects" in found.detail
    assert [one.name for one in source.columns()] == list(NAMES)


def test_the_objects_that_match_make_the_table(source: S3Source, tmp_path: Path) -> None:
    found, into = selected_from(source, selection(parse("age < 55")), tmp_path)
    assert sorted(int(row["age"]) for row in table_in(into)) == list(range(40, 55))
    assert found.patients == 15


def test_what_a_bucket_calls_its_objects_names_no_file_here(source: S3Source, buckets: Buckets, stage: Stage) -> None:
    buckets.put("heart/%2e%2e%2fabove.csv", csv_of(ROWS).encode())
    staged = stage(source)
    assert [path.name for path in staged.paths] == ["000001.csv", "000002.csv", "000003.csv"]


def test_the_version_tells_one_state_from_another(source: S3Source, buckets: Buckets, stage: Stage) -> None:
    first, again = stage(source), stage(source)
    assert first.version == again.version
    assert first.version.startswith("snapshot ")
    need_silent(first.version)
    buckets.put("heart/a.csv", csv_of(ROWS[1:10]).encode())
    assert stage(source).version.split()[1] != first.version.split()[1]


def test_deeper_folders_if_they_are_asked_for(source: S3Source, stage: Stage, buckets: Buckets) -> None:
    buckets.put("heart/deeper/c.csv", csv_of(ROWS).encode())
    assert len(stage(replace(source, pattern="**/*.csv")).paths) == 3
    assert len(stage(replace(source, pattern="deep*/?.csv")).paths) == 1
    with pytest.raises(DataSourceUnavailable, match="no object"):
        stage(replace(source, pattern="b.csv"))


def test_a_hospitals_own_spelling(source: S3Source, buckets: Buckets, tmp_path: Path) -> None:
    buckets.empty()
    text = csv_of(ROWS).replace(",", ";").replace("170.5", "170,5")
    buckets.put("heart/a.csv", text.encode("latin-1"))
    spelled = replace(source, spelling=Spelling(delimiter=";", decimal=",", encoding="latin-1"))
    _, into = selected_from(spelled, selection(), tmp_path)
    assert {row["height"] for row in table_in(into)} == {"170.5"}


def test_parquet_and_of_its_columns_only_the_end_is_fetched(
    source: S3Source, buckets: Buckets, gateway: Gateway, tmp_path: Path
) -> None:
    many = [{**ROWS[0], "note": f"{number * 7919 % 100_003:x} canary", "height": number / 7} for number in range(3000)]
    content = parquet_of(many, tmp_path)
    buckets.put("heart/a.parquet", content)
    cutter = Cutter(gateway.endpoint, times=0)
    with contextlib.closing(cutter):
        there = at(replace(source, pattern="*.parquet"), cutter.url)
        assert {one.name: one.type for one in there.columns()} == {
            "patient": "VARCHAR",
            "age": "BIGINT",
            "height": "DOUBLE",
            "sex": "VARCHAR",
            "smokes": "BOOLEAN",
            "note": "VARCHAR",
            "admitted": "DATE",
            "left": "DATE",
        }
        assert cutter.received < len(content) / 2
    _, into = selected_from(there := replace(source, pattern="*.parquet"), selection(parse("height < 1")), tmp_path)
    assert len(table_in(into)) == 7
    for broken in (b"PAR1 cut off", b"PAR1", b"", content[: len(content) // 2], b"PAR1\0\0\0\0PAR1"):
        buckets.put("heart/a.parquet", broken)
        with pytest.raises(DataUnfit):
            there.columns()


def test_a_listing_of_many_pages(source: S3Source, buckets: Buckets, gateway: Gateway) -> None:
    many = [buckets.store / "heart" / f"{number}.csv" for number in range(1100)]
    buckets.stop()
    for file in many:
        file.write_text("patient\n")
    buckets.again()
    gateway.rule = without("PUT", "DELETE")
    found = only(at(source, gateway.endpoint))
    assert "of 1102 objects" in found.detail
    assert sum(one.lists for one in gateway.seen) == 2
    buckets.stop()
    for file in many:
        file.unlink()
    buckets.again()


# --- Rights ----------------------------------------------------------------------------------------------------------


def test_keys_that_may_write_are_refused_and_nothing_is_written(
    source: S3Source, buckets: Buckets, gateway: Gateway
) -> None:
    before = buckets.keys()
    found = only(source)
    assert not found.ok
    assert "may write" in found.detail
    assert "s3:PutObject" in str(found.hint)
    assert buckets.keys() == before
    gateway.dropped = {"content-md5"}  # a server that does not look at it, and writes
    assert "may write" in only(at(source, gateway.endpoint)).detail
    assert [one.method for one in gateway.seen][-2:] == ["PUT", "DELETE"]
    assert buckets.keys() == before


def without(*methods: str) -> Rule:
    return lambda asked: refusal(403, "AccessDenied") if asked.method in methods else None


def test_keys_that_may_delete_are_refused(source: S3Source, buckets: Buckets, gateway: Gateway) -> None:
    before = buckets.keys()
    there = at(source, gateway.endpoint)
    gateway.rule = without("PUT")
    found = only(there)
    assert not found.ok
    assert "may delete" in found.detail
    gateway.rule = without("PUT", "DELETE")
    assert only(there).ok
    assert buckets.keys() == before


def test_a_server_that_cannot_say_now_is_not_taken_for_one_that_refuses(source: S3Source, gateway: Gateway) -> None:
    gateway.rule = lambda asked: refusal(503, "SlowDown") if asked.method == "PUT" else None
    assert not only(at(source, gateway.endpoint)).ok


@pytest.mark.parametrize("lists", [True, False])
def test_keys_that_may_not_read_are_told_what_they_need(
    source: S3Source, gateway: Gateway, stage: Stage, *, lists: bool
) -> None:
    gateway.rule = lambda asked: refusal(403, "AccessDenied") if asked.lists is lists else None
    assert "s3:GetObject" in str(only(at(source, gateway.endpoint)).hint)
    with pytest.raises(DataUnfit, match="may not"):
        stage(at(source, gateway.endpoint))


@pytest.mark.parametrize("text", [f"{ACCESS}\nsomething else\n", f"somebody\n{SECRET}\n", f"{ACCESS}\n", ""])
def test_keys_that_are_wrong_are_the_operators(source: S3Source, keys: Path, stage: Stage, text: str) -> None:
    keys.write_text(text)
    assert not only(source).ok
    with pytest.raises(DataUnfit):
        stage(source)


def test_keys_that_others_can_read_are_not_used(source: S3Source, keys: Path, gateway: Gateway, tmp_path: Path) -> None:
    keys.chmod(0o640)
    found = only(at(source, gateway.endpoint))
    assert not found.ok
    assert "chmod 600" in str(found.hint)
    assert not only(at(source, gateway.endpoint, keys_file=tmp_path / "none")).ok
    assert gateway.seen == []


def test_certificates(source: S3Source, buckets: Buckets, tmp_path: Path) -> None:
    there = at(source, buckets.endpoint("tls"))
    assert "certificate" in only(there).detail
    other = Authority(tmp_path / "other", "other")
    assert "certificate" in only(at(there, there.bucket.endpoint, ca_file=other.file)).detail
    found = only(at(there, there.bucket.endpoint, ca_file=buckets.authority.file))
    assert found.ok, found
    for wrong in (tmp_path / "none", tmp_path):
        assert "certificate authority" in only(at(there, there.bucket.endpoint, ca_file=wrong)).detail


# --- What is not there -----------------------------------------------------------------------------------------------


def test_what_is_gone_is_named(source: S3Source, buckets: Buckets, stage: Stage, tmp_path: Path) -> None:
    assert "bucket is not there" in only(replace(source, bucket=replace(source.bucket, name="elsewhere"))).detail
    kept = tuple(name for name in NAMES if name != "age")
    for key in ("heart/a.csv", "heart/canary b+ü.csv"):
        buckets.put(key, csv_of(ROWS, kept).encode())
    with pytest.raises(DataUnfit) as caught:
        selected_from(source, selection(), tmp_path)
    assert caught.value.fields["column"] == "age"
    buckets.put("heart/a.csv", csv_of(ROWS).encode())
    with pytest.raises(DataUnfit, match="same columns"):
        stage(source)
    buckets.put("heart/a.parquet", b"PAR1")
    with pytest.raises(DataUnfit, match="CSV, TSV or Parquet"):
        stage(replace(source, pattern="a.*"))
    with pytest.raises(DataUnfit, match="CSV, TSV or Parquet"):
        stage(replace(source, pattern="*.txt"))
    buckets.put("heart/a.csv", b"")
    with pytest.raises(DataUnfit):
        stage(replace(source, pattern="a.csv"))
    with pytest.raises(DataUnfit):
        replace(source, pattern="a.csv").columns()


def test_a_type_that_changed_is_told_by_its_column_and_row(source: S3Source, buckets: Buckets, tmp_path: Path) -> None:
    buckets.put("heart/a.csv", csv_of(ROWS[:10]).replace(",45,", ",canary-five,").encode())
    with pytest.raises(DataUnfit) as caught:
        selected_from(source, selection(), tmp_path)
    assert (caught.value.fields["column"], caught.value.fields["row"]) == ("age", 6)
    need_silent(str(caught.value))


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_a_server_that_is_away_makes_the_train_wait(source: S3Source, buckets: Buckets, stage: Stage) -> None:
    buckets.stop()
    try:
        with pytest.raises(DataSourceUnavailable):
            stage(source)
        assert not only(source).ok
    finally:
        buckets.again()
    assert len(stage(source).paths) == 2


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, ""), (400, "RequestTimeout")]
)
def test_a_server_that_cannot_answer_now_makes_the_train_wait(
    source: S3Source, gateway: Gateway, stage: Stage, status: int, code: str
) -> None:
    gateway.rule = lambda asked: None if asked.lists else refusal(status, code)
    with pytest.raises(DataSourceUnavailable):
        stage(at(source, gateway.endpoint))


@pytest.mark.parametrize("lists", [True, False])
def test_a_server_that_is_slow_makes_the_train_wait(
    source: S3Source, gateway: Gateway, stage: Stage, *, lists: bool
) -> None:
    over = threading.Event()

    def wait(asked: Asked) -> None:
        if asked.lists is lists:
            over.wait()

    gateway.rule = wait
    with pytest.raises(DataSourceUnavailable):
        stage(at(source, gateway.endpoint, seconds=1))
    over.set()


@pytest.mark.parametrize("lists", [True, False])
def test_a_server_that_trickles_makes_the_train_wait(
    source: S3Source, gateway: Gateway, stage: Stage, *, lists: bool
) -> None:
    over = threading.Event()

    def drops(body: bytes) -> Iterator[bytes]:
        for at in range(len(body)):
            over.wait(0.05)
            yield body[at : at + 1]

    gateway.rule = lambda asked: setattr(gateway, "pieces", drops) if asked.lists is lists else None
    with pytest.raises(DataSourceUnavailable):
        stage(at(source, gateway.endpoint, seconds=1))
    over.set()


_NAMES, _ROW = csv_of([{**ROWS[0], "patient": "p%d", "note": "%060d"}]).splitlines(keepends=True)
LARGE = (_NAMES + "".join([_ROW % (number, number) for number in range(60_000)])).encode()


@pytest.fixture
def large(source: S3Source, buckets: Buckets) -> S3Source:
    buckets.put("heart/large.csv", LARGE)
    return replace(source, pattern="large.csv")


def test_a_copy_that_is_cut_is_gone_on_with(large: S3Source, stage: Stage) -> None:
    cutter = Cutter(large.bucket.endpoint, down=len(LARGE) // 2, times=1)
    with contextlib.closing(cutter):
        staged = stage(at(large, cutter.url))
    assert cutter.left == 0
    assert staged.paths[0].read_bytes() == LARGE
    assert cutter.received < len(LARGE) * 1.05


def test_a_copy_that_is_cut_again_and_again_makes_the_train_wait(large: S3Source, stage: Stage) -> None:
    cutter = Cutter(large.bucket.endpoint, down=100_000, times=1000)
    with contextlib.closing(cutter), pytest.raises(DataSourceUnavailable):
        stage(at(large, cutter.url))
    assert cutter.received < len(LARGE)


def test_a_server_that_cannot_send_a_part_makes_the_train_wait(large: S3Source, gateway: Gateway, stage: Stage) -> None:
    gateway.dropped = {"content-range"}
    cutter = Cutter(gateway.endpoint, down=len(LARGE) // 2, times=1)
    with contextlib.closing(cutter), pytest.raises(DataSourceUnavailable):
        stage(at(large, cutter.url))


@pytest.mark.parametrize(
    ("begin", "length"), [(0, len(LARGE) // 2), (None, 0), (None, len(LARGE))], ids=["elsewhere", "nothing", "too much"]
)
def test_a_part_that_is_another_than_was_asked_for_is_not_taken(
    large: S3Source, gateway: Gateway, stage: Stage, begin: int | None, length: int
) -> None:
    def lie(asked: Asked) -> Says | None:
        if "Range" not in asked.headers:
            return None
        start = int(asked.headers["Range"].removeprefix("bytes=").rstrip("-"))
        told = f"bytes {start if begin is None else begin}-{len(LARGE) - 1}/{len(LARGE)}"
        return Says(status=206, body=LARGE[:length], headers={"Content-Range": told})

    gateway.rule = lie
    cutter = Cutter(gateway.endpoint, down=len(LARGE) // 2, times=1)
    with contextlib.closing(cutter), pytest.raises(DataSourceUnavailable):
        stage(at(large, cutter.url))


def test_more_than_the_part_that_was_asked_for_is_not_taken(large: S3Source, gateway: Gateway) -> None:
    whole = {"Content-Range": f"bytes 0-{len(LARGE) - 1}/{len(LARGE)}"}
    gateway.rule = lambda asked: None if asked.lists else Says(status=206, body=LARGE, headers=whole)
    with pytest.raises(DataSourceUnavailable):
        at(large, gateway.endpoint).columns()


def test_an_object_that_changed_after_a_cut_is_not_gone_on_with(
    large: S3Source, gateway: Gateway, buckets: Buckets, stage: Stage
) -> None:
    def change(asked: Asked) -> None:
        if "Range" in asked.headers:
            buckets.put("heart/large.csv", LARGE.replace(b"170.5", b"170.6"))

    gateway.rule = change
    cutter = Cutter(gateway.endpoint, down=len(LARGE) // 2, times=1)
    with contextlib.closing(cutter), pytest.raises(DataSourceUnavailable, match="changed"):
        stage(at(large, cutter.url))
    assert cutter.left == 0
    assert not gateway.seen[-1].lists  # that was enough


def once(when: Callable[[Asked], bool], act: Callable[[], None]) -> Rule:
    left = [act]

    def rule(asked: Asked) -> None:
        if left and when(asked):
            left.pop()()

    return rule


@pytest.mark.parametrize(
    "act",
    [
        lambda buckets: buckets.put("heart/a.csv", csv_of(ROWS[5:10]).encode()),
        lambda buckets: buckets.put("heart/a.csv", csv_of(ROWS[:10]).replace("170.5", "170.6").encode()),
        lambda buckets: buckets.remove("heart/a.csv"),
        lambda buckets: buckets.put("heart/another.csv", csv_of(ROWS).encode()),
        lambda buckets: buckets.remove("heart/canary b+ü.csv"),
    ],
    ids=["shorter", "the same length", "gone", "one more", "another gone"],
)
def test_a_bucket_that_changes_while_it_is_read_makes_the_train_wait(
    source: S3Source, gateway: Gateway, buckets: Buckets, stage: Stage, act: Callable[[Buckets], None]
) -> None:
    there = at(source, gateway.endpoint)
    gateway.rule = once(lambda asked: asked.path.endswith("a.csv"), lambda: act(buckets))  # after the listing
    with pytest.raises(DataSourceUnavailable, match="changed"):
        stage(there)
    assert stage(there).paths  # and is read again


def test_a_bucket_that_changes_after_the_last_byte_is_noticed(
    source: S3Source, gateway: Gateway, buckets: Buckets, stage: Stage
) -> None:
    def act() -> None:
        buckets.put("heart/a.csv", csv_of(ROWS).encode())

    gateway.rule = once(lambda asked: asked.lists and len(gateway.seen) > 1, act)
    with pytest.raises(DataSourceUnavailable, match="changed"):
        stage(at(source, gateway.endpoint))
    assert [one.lists for one in gateway.seen] == [True, False, False, True]


def test_a_server_that_compares_itself_is_believed(source: S3Source, gateway: Gateway, stage: Stage) -> None:
    gateway.rule = lambda asked: refusal(412, "PreconditionFailed") if "If-Match" in asked.headers else None
    with pytest.raises(DataSourceUnavailable, match="changed"):
        stage(at(source, gateway.endpoint))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("lists", [True, False])
def test_nobody_is_sent_elsewhere(
    source: S3Source, gateway: Gateway, buckets: Buckets, stage: Stage, status: int, *, lists: bool
) -> None:
    elsewhere = Gateway(buckets.endpoint())
    with contextlib.closing(elsewhere):
        gateway.rule = lambda asked: (
            Says(status=status, headers={"Location": elsewhere.endpoint + asked.path, "x-amz-bucket-region": "else"})
            if asked.lists is lists
            else None
        )
        with pytest.raises(DataUnfit, match="elsewhere"):
            stage(at(source, gateway.endpoint))
        assert not only(at(source, gateway.endpoint)).ok
        assert elsewhere.seen == []


def test_proxies_of_the_environment_see_nothing(
    source: S3Source, buckets: Buckets, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = WebProxy(buckets.endpoint())
    with contextlib.closing(proxy):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        assert len(stage(source).paths) == 2
        assert proxy.seen == []


def test_what_is_no_server_of_buckets(source: S3Source, gateway: Gateway, stage: Stage) -> None:
    there = at(source, gateway.endpoint)
    for body in (b"<html>welcome", b"<a></a>", b"\xff\xfe", b""):
        gateway.rule = lambda _, body=body: Says(status=200, body=body)  # type: ignore[misc]
        with pytest.raises(DataUnfit):
            stage(there)
    for status in (400, 404):
        gateway.rule = lambda _, status=status: Says(status=status, body=b"canary")  # type: ignore[misc]
        with pytest.raises(DataUnfit):
            stage(there)


def test_a_listing_without_an_end_is_not_read(source: S3Source, gateway: Gateway, stage: Stage) -> None:
    gateway.rule = lambda _: Says(status=200, body=b"<a>" + b" " * (17 << 20))
    with pytest.raises(DataSourceUnavailable):
        stage(at(source, gateway.endpoint))


@pytest.mark.parametrize("key", ["heart/../a.csv", "heart/./a.csv"])
def test_a_key_that_would_become_another_on_its_way(source: S3Source, gateway: Gateway, stage: Stage, key: str) -> None:
    about = (
        f"<Key>{key}</Key><Size>9</Size><ETag>&quot;0&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    )
    listing = f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>false</IsTruncated><Contents>{about}</Contents></ListBucketResult>"
    gateway.rule = lambda _: Says(status=200, body=listing.encode(), headers={"Content-Type": "application/xml"})
    with pytest.raises(DataUnfit, match="no path"):
        stage(at(replace(source, pattern="*/a.csv"), gateway.endpoint))
    assert all(one.lists for one in gateway.seen)


def test_a_wrong_clock_is_told_as_that(source: S3Source, gateway: Gateway) -> None:
    gateway.rule = lambda _: refusal(403, "RequestTimeTooSkewed")
    assert "clock" in str(only(at(source, gateway.endpoint)).hint)


def test_no_more_is_brought_than_there_is_space_for(source: S3Source, tmp_path: Path) -> None:
    with pytest.raises(DataTooLarge):
        source.stage(Wanted(columns=EVERY, space=Narrow(10)), tmp_path)
    assert list(tmp_path.glob("0*")) == []  # the size of an object is known before it is asked for


def test_a_full_disk_is_told_as_that(source: S3Source, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    (into / "000001.csv").symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        source.stage(ALL, into)


def test_a_missing_library_is_told_with_what_installs_it() -> None:
    script = (
        "import sys; sys.modules['minio'] = None\n"
        "from pathlib import Path\n"
        "from station.data.tables.bucket import Bucket\n"
        "from station.data.tables.s3 import S3Source\n"
        "where = Bucket(endpoint='https://s3.example', name='clinic', keys_file=Path('keys'))\n"
        "print(S3Source(name='heart', bucket=where, pattern='*').check())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'pht[s3]'" in done.stdout
