"""How are a party's title and its roles spelled in a document?"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from security.forms.form import Text
from security.forms.many import Many
from security.ids import Role

TITLE: Final = Text(most=200, line=True)

Title: TypeAlias = Annotated[str, TITLE]
Roles: TypeAlias = Annotated[frozenset[Role], Many(least=1, most=len(Role))]
