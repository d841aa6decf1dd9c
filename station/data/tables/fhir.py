"""How is a table read that a FHIR R4 server has: a row for each resource that a search finds?

All pages are read, one in memory at a time, or an error is raised. What a search finds is written down as the columns that
are wanted, and nothing else of it; which rows are wanted is for the engine to say.
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from security.errors import InvalidInput
from security.files import told
from station.check import CheckResult
from station.data.port import Space
from station.data.tables.database import TIMEOUT
from station.data.tables.engine import opened, quoted
from station.data.tables.fhir_bundle import Page, inner
from station.data.tables.fhir_path import Object
from station.data.tables.fhir_place import PAGE, Endpoint, FhirTable, Search, need_paths
from station.data.tables.fhir_row import CellUnfit, Place, cell, places_of
from station.data.tables.fhir_shape import Shape
from station.data.tables.kind import Kind, beside
from station.data.tables.source import Form, Found, Staged, Wanted
from station.errors import DataSourceUnavailable, DataUnfit

if TYPE_CHECKING:
    from station.data.tables.fhir_server import FhirServer

_R4: Final = "4."
_AGAIN: Final = "the train waits, and all of it is read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirSource:
    """The data set `name`: what a search finds. `sleep` waits for some seconds, where a server asks for that."""

    name: str
    table: FhirTable
    sleep: Callable[[float], object] = field(default=time.sleep, compare=False)

    @property
    def kind(self) -> str:
        """See `TableSource`."""
        return "fhir"

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.table.endpoint.reads

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return self.table.endpoint.secrets

    def check(self) -> tuple[CheckResult, ...]:
        """See `TableSource`."""
        what = f"data {self.name}"
        try:
            found = self._examined()
        except (DataSourceUnavailable, DataUnfit) as error:
            return (CheckResult(name=what, ok=False, detail=str(error), hint=error.hint),)
        return (CheckResult(name=what, ok=True, detail=found),)

    def columns(self) -> tuple[Found, ...]:
        """See `TableSource`. All pages are looked at: a path has one value in every resource."""
        shape = Shape()
        for page in self._pages(self.table.search):
            for resource in page.matches:
                shape.see(resource, page.linked)
        if not shape.columns:
            msg = "a search finds nothing to make columns of"
            raise DataUnfit(msg, data=self.name, hint="correct 'search'")
        return shape.columns

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """See `TableSource`."""
        try:
            places = places_of(wanted.columns)
        except InvalidInput as error:
            raise DataUnfit(error.message, data=self.name, hint=error.hint, **error.fields) from None
        path, ids, scratch = into / "table.csv", into / "ids", into / "scratch"
        scratch.mkdir()
        version, rows = self._written(places, path, ids, wanted.space)
        self._need_different(ids, scratch, rows)
        ids.unlink()
        shutil.rmtree(scratch)
        names = {one.described.column.name: one.header for one in places}
        return Staged(form=Form.CSV, paths=(path,), names=names, version=version)

    def _examined(self) -> str:
        server, search = self._server(), self.table.search
        ability = server.ability(search.type)
        if not ability.version.startswith(_R4):
            msg = "the server does not say that it speaks FHIR R4"
            raise DataUnfit(msg, data=self.name)
        if not ability.searches:
            msg = "the server does not say that resources of this type can be searched"
            raise DataUnfit(msg, data=self.name, type=search.type)
        next(server.pages(Search(type=search.type, query=search.query, count=1)))
        server.need_narrow(search.type, ability)
        return f"{self.table.endpoint.base}: {search.type} can be read, and not be changed"

    def _written(self, places: tuple[Place, ...], path: Path, ids: Path, space: Space) -> tuple[str, int]:
        """Write the rows, and the ids of the resources; return which state they are of, and how many."""
        rows, since = 0, None
        with (
            told(path.parent),
            path.open("w", encoding="utf-8", newline="") as out,
            ids.open("w", encoding="ascii") as names,
        ):
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow([one.header for one in places])
            for page in self._pages(self.table.search):
                since = since or page.time
                names.writelines(f"{one['id']}\n" for one in page.matches)
                before = out.tell()
                writer.writerows(self._rows(places, page, rows))
                space.take(out.tell() - before)
                rows += len(page.matches)
        return f"{since or 'of a time the server does not tell'}, {rows} resources", rows

    def _pages(self, search: Search) -> Iterator[Page]:
        """Yield all pages, or find out that they are not all of one state."""
        rows, total = 0, None
        for page in self._server().pages(search):
            rows += len(page.matches)
            if search.exact:
                total = page.total if total is None else total
                if total is not None and (rows > total or page.total not in {None, total}):
                    raise self._changed()
            yield page
        if total is not None and rows != total:
            raise self._changed()

    def _rows(self, places: tuple[Place, ...], page: Page, before: int) -> Iterator[list[str]]:
        for number, resource in enumerate(page.matches, start=before + 1):
            linked = partial(self._linked, page, resource, number)
            try:
                yield [cell(place, resource, linked, self.table.endpoint.local) for place in places]
            except CellUnfit as error:
                msg = "a column cannot be read as station.yaml describes it"
                raise DataUnfit(msg, data=self.name, column=error.column, row=number, why=error.why) from None

    def _linked(self, page: Page, resource: Object, row: int, name: str) -> Object:
        local = self.table.endpoint.local(name)
        found = inner(resource, name[1:]) if name.startswith("#") else page.linked.get(local)
        if found is None:
            msg = "a resource that another names did not come with it"
            hint = "add it to 'search', such as _include=Observation:subject; correct a reference to what is not there"
            raise DataUnfit(msg, data=self.name, row=row, hint=hint)
        return found

    def _need_different(self, ids: Path, scratch: Path, rows: int) -> None:
        """Refuse a result with one resource twice: another one is missing, or counted twice."""
        with opened([ids.parent], scratch=scratch, about=self.name) as engine:
            read = f"read_csv({quoted(str(ids))}, columns = {{'id': 'VARCHAR'}}, header = false, auto_detect = false)"
            ((different,),) = engine.rows(f"SELECT count(*) FROM (SELECT id FROM {read} GROUP BY id)")
        if different != rows:
            raise self._changed()

    def _changed(self) -> DataSourceUnavailable:
        msg = "the pages of a search do not make one whole: resources are missing, or there twice"
        hint = (
            f"the data changed while they were read: {_AGAIN}. "
            "If that stays so, the server estimates totals: add _total=accurate to 'search', or _total=none to pass over them"
        )
        return DataSourceUnavailable(msg, data=self.name, hint=hint)

    def _server(self) -> FhirServer:
        from station.data.tables.fhir_server import FhirServer  # noqa: PLC0415 - slow to import, and few stations have one

        return FhirServer(self.table.endpoint, about=self.name, sleep=self.sleep)


def _source(name: str, home: Path, value: Mapping[str, Any]) -> FhirSource:
    endpoint = Endpoint(
        base=value["server"].removesuffix("/"),
        username=value.get("username"),
        password_file=beside(home, value, "password_file"),
        token_file=beside(home, value, "token_file"),
        token_url=value.get("token_url"),
        scope=value.get("scope"),
        ca_file=beside(home, value, "ca_file"),
        seconds=value.get("timeout_seconds", TIMEOUT),
    )
    search = Search.of(value["search"], count=value.get("page_size", PAGE))
    need_paths({column: one.get("from", column) for column, one in value.get("columns", {}).items()}, search.type)
    return FhirSource(name=name, table=FhirTable(endpoint=endpoint, search=search))


KIND: Final = Kind(
    name="fhir",
    read=_source,
    needs=("server", "search"),
    paths=True,
    may=(
        "username",
        "password_file",
        "token_file",
        "token_url",
        "scope",
        "ca_file",
        "page_size",
        "timeout_seconds",
    ),
)
