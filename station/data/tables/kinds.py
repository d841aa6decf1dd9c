"""Which kinds of source of tables are there?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from station.data.tables import dicom, dicomweb, excel, fhir, files, s3, sql
from station.data.tables.kind import Kind

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {one.name: one for one in (files.KIND, sql.KIND, fhir.KIND, s3.KIND, dicom.KIND, dicomweb.KIND, excel.KIND)}
)
"""Every kind, by what ``source:`` in station.yaml calls it."""

SETTINGS: Final = frozenset(name for one in KINDS.values() for name in one.settings)
"""The settings of all kinds."""
