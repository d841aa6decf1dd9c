"""Would a Python of some version compile this source, and what does it import?

Nothing is run. What may be missing on purpose is left out: imports whose failure the code catches, and those for type
checkers.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_CAUGHT: Final = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_GONE: Final = {
    12: "asynchat asyncore distutils imp smtpd",
    13: "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd sunau"
    " telnetlib uu xdrlib",
}
_NEW: Final = {11: "tomllib", 14: "annotationlib compression"}
"""Modules of the standard library by the minor version that dropped, or brought, them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import of `module`, `level` packages up (0: from the top), which takes `names` out of it.

    It is `sure` to be reached if what it stands in is: it is under no condition.
    """

    module: str
    level: int
    names: tuple[str, ...]
    line: int
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source that compiles: what it imports, and which folders it adds to the module search path.

    An added folder that is not written out is None.
    """

    imports: tuple[Import, ...]
    added: tuple[str | None, ...]
    texts: frozenset[str]


def minor_of(version: str) -> int:
    """Return the minor version of ``3.11``; that of this interpreter if the text has another form."""
    major, _, minor = version.partition(".")
    return int(minor) if major == "3" and minor.isdecimal() else sys.version_info.minor


def standard_modules(minor: int) -> frozenset[str]:
    """Return the modules at the top of the standard library of Python 3.`minor`."""
    names = set(sys.stdlib_module_names) | {"__main__"}
    for since, words in _GONE.items():
        names = names - set(words.split()) if minor >= since else names | set(words.split())
    for since, words in _NEW.items():
        names = names | set(words.split()) if minor >= since else names - set(words.split())
    return frozenset(names)


def compiled(text: bytes, minor: int) -> Source:
    """Compile a source, and look for its imports.

    Raises:
        SyntaxError: Python 3.`minor` does not compile it. A newer Python than this one is not judged by its own grammar.
    """
    ours = sys.version_info.minor
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text, feature_version=(3, min(minor, ours)))
            compile(
                module, "<code>", "exec", dont_inherit=True
            )  # finds what the grammar allows: 'return' outside of a function
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "it is too deeply nested") from error
    added = tuple(_added(module))
    texts = frozenset(
        node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return Source(imports=tuple(_imports(module.body, sure=True)), added=added, texts=texts)


def _imports(body: Sequence[ast.AST], *, sure: bool) -> Iterator[Import]:
    for node in body:
        match node:
            case ast.Import(names=names):
                for one in names:
                    yield Import(module=one.name, level=0, names=(), line=node.lineno, sure=sure)
            case ast.ImportFrom(module=module, names=names, level=level):
                taken = tuple(one.name for one in names)
                yield Import(module=module or "", level=level or 0, names=taken, line=node.lineno, sure=sure)
            case ast.If(test=test, body=inner, orelse=orelse):
                yield from _imports([] if _for_checkers(test) else inner, sure=sure and _is_main(test))
                yield from _imports(orelse, sure=False)
            case _:
                yield from _imports(list(_unguarded(node)), sure=sure)


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node consists of, without what may fail to be imported on purpose."""
    match node:
        case ast.Try(body=tried, handlers=handlers, orelse=orelse, finalbody=final):
            yield from (*([] if any(map(_catches, handlers)) else tried), *handlers, *orelse, *final)
        case ast.With(items=items) if any(_suppresses(one.context_expr) for one in items):
            return
        case _:
            yield from ast.iter_child_nodes(node)


def _names(node: ast.AST | None) -> Iterator[str]:
    for one in ast.walk(node) if node is not None else ():
        if isinstance(one, ast.Name):
            yield one.id


def _catches(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or not _CAUGHT.isdisjoint(_names(handler.type))


def _suppresses(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
            return any(not _CAUGHT.isdisjoint(_names(one)) for one in args)
        case _:
            return False


def _for_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _added(module: ast.Module) -> Iterator[str | None]:
    """Find what is put on ``sys.path``."""
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="insert" | "append" | "extend", value=ast.Attribute(attr="path")), args=args
            ):
                last = args[-1] if args else None
                yield last.value if isinstance(last, ast.Constant) and isinstance(last.value, str) else None
            case ast.Call(func=ast.Attribute(attr="addsitedir"), args=[ast.Constant(value=str() as text), *_]):
                yield text
            case (
                ast.Assign(targets=[ast.Attribute(attr="path", value=ast.Name(id="sys"))])
                | ast.AugAssign(target=ast.Attribute(attr="path", value=ast.Name(id="sys")))
            ):
                yield None
            case _:
                pass
