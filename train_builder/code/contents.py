"""Does a file of the code folder hold data or a secret, and which files of the state does it mention?

A static check: it finds what people leave in a folder by mistake, not what is hidden on purpose. Only the first 4 MiB of a file
are read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from security.archive import Member

_LOOK: Final = 4 << 20
_STATE: Final = "/pht/state/"
_STATE_WORD = re.compile(r"(?:/pht/state|\$PHT_STATE|\$\{PHT_STATE\})[\"']?/([A-Za-z0-9_.*/-]*[A-Za-z0-9_*])")
_VARIABLES: Final = {"PHT_STATE": "/pht/state", "PHT_DATA": "/pht/data"}
_MENTION = re.compile(r"/pht|PHT_STATE")
_UNKNOWN = re.compile(r"\*+")

_MAGIC: Final = (
    (0, b"PAR1", "Parquet data"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (128, b"DICM", "a DICOM image"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5 data"),
    (0, b"ARROW1\0\0", "Arrow data"),
    (0, b"\x93NUMPY", "NumPy data"),
    (0, b"RDX", "R data"),
    (0, b"$FL2", "SPSS data"),
    (0, b"n+1\0", "a NIfTI image"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document"),
)
_DATA_SUFFIXES: Final = {
    **dict.fromkeys((".csv", ".tsv", ".psv"), "a table"),
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".orc", ".avro"), "columnar data"),
    **dict.fromkeys((".xls", ".xlsx", ".ods"), "a spreadsheet"),
    **dict.fromkeys((".sas7bdat", ".xpt", ".sav", ".dta", ".rds", ".rda", ".rdata"), "statistics software's data"),
    **dict.fromkeys((".dcm", ".nii", ".mha", ".nrrd"), "a medical image"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".mdb"), "a database"),
    **dict.fromkeys((".npy", ".npz", ".h5", ".hdf5", ".mat"), "numeric data"),
    **dict.fromkeys((".vcf", ".bam", ".fastq", ".fasta"), "sequencing data"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".dill"), "pickled Python objects"),
}
_PICKLE = re.compile(rb"\x80[\x02-\x05].*\.\Z", re.DOTALL)

_SECRET_NAMES = re.compile(
    r"(?:\.env(?:\..+)?|\.netrc|_netrc|\.pgpass|\.my\.cnf|\.git-credentials|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?"
    r"|.+\.(?:p12|pfx|jks|keystore|kdbx|ppk)|credentials|\.pypirc|\.dockercfg)"
)
_SECRETS: Final = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"), "secret.private-key", "a private key", True),
    (re.compile(rb"-----BEGIN PGP PRIVATE KEY BLOCK-----"), "secret.private-key", "a PGP private key", True),
    (re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{20}"), "secret.age-key", "an age identity", True),
    (re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "secret.aws-key", "an AWS access key", True),
    (re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})"), "secret.token", "a GitHub token", True),
    (re.compile(rb"\bglpat-[\w-]{20}"), "secret.token", "a GitLab token", True),
    (re.compile(rb"\bxox[abprs]-[0-9A-Za-z-]{10,}"), "secret.token", "a Slack token", True),
    (re.compile(rb"\bAIza[\w-]{35}"), "secret.token", "a Google API key", True),
    (re.compile(rb"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"), "secret.token", "a JSON web token", True),
    (
        re.compile(rb"\b[a-z][a-z0-9+]{1,20}://[^\s/:@\"']{1,60}:[^\s/@\"']{1,80}@"),
        "secret.url",
        "a URL with a password",
        True,
    ),
    (
        re.compile(
            rb"(?i)\b\w*(?:passw(?:or)?d|passphrase|secret|api_?key|token)\w*\s*[=:]\s*[\"'][^\"'\s{}<>$]{8,}[\"']"
        ),
        "secret.assignment",
        "what looks like a password",
        False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was found in a file; ``certain`` if there is hardly another explanation."""

    code: str
    line: int | None
    text: str
    certain: bool


def looks_into(member: Member) -> tuple[Trace, ...]:
    """Look for data and secrets in one file."""
    with member.open() as source:
        head = source.read(_LOOK)
    return (*_data(member.path, head), *_secrets(member.path, head))


def mentions(member: Member, word: str) -> bool:
    """Whether a word occurs in a file."""
    with member.open() as source:
        return re.search(rf"\b{re.escape(word)}\b".encode(), source.read(_LOOK)) is not None


def state_paths(member: Member) -> tuple[tuple[str, int], ...]:
    """Return the paths below /pht/state a text file speaks of, with their lines; ``*`` stands for what is not known.

    Python is read as Python: constants, ``PHT_STATE`` of the environment, f-strings, ``+``, ``/`` and ``os.path.join``,
    through names assigned once.
    """
    with member.open() as source:
        text = source.read(_LOOK).decode("utf-8", errors="replace")
    found: set[tuple[str, int]] = set()
    if _MENTION.search(text) is None or "\0" in text:
        return ()
    if member.path.endswith(".py"):
        try:
            return tuple(sorted(_of_python(ast.parse(text)), key=lambda one: (one[1], one[0])))
        except (SyntaxError, ValueError, RecursionError):
            found = set()  # not Python after all: read it as text
    for number, line in enumerate(text.splitlines(), start=1):
        found |= {(match[1], number) for match in _STATE_WORD.finditer(line)}
    return tuple(sorted(found, key=lambda one: (one[1], one[0])))


def _data(path: str, head: bytes) -> Iterator[Trace]:
    name = path.rpartition("/")[2].lower()
    suffix = "." + name.removesuffix(".gz").rpartition(".")[2]
    for offset, magic, what in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            yield Trace(code="data.file", line=None, text=f"is {what}", certain=True)
            return
    if suffix in _DATA_SUFFIXES:
        yield Trace(code="data.file", line=None, text=f"has the name of {_DATA_SUFFIXES[suffix]}", certain=True)
    elif len(head) < _LOOK and _PICKLE.match(head):
        yield Trace(code="data.file", line=None, text="is pickled Python objects", certain=True)


def _secrets(path: str, head: bytes) -> Iterator[Trace]:
    name = path.rpartition("/")[2]
    if _SECRET_NAMES.fullmatch(name):
        yield Trace(code="secret.file", line=None, text="has the name of a file for secrets", certain=True)
    for pattern, code, what, certain in _SECRETS:
        match = pattern.search(head)
        if match is not None:
            line = head.count(b"\n", 0, match.start()) + 1
            yield Trace(code=code, line=line, text=f"holds {what}", certain=certain)


def _of_python(module: ast.Module) -> Iterator[tuple[str, int]]:
    names: dict[str, str] = {}
    assigned: dict[str, int] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assigned[node.id] = assigned.get(node.id, 0) + 1
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _text(node.value, names)
            if value is not None and assigned[node.targets[0].id] == 1:
                names[node.targets[0].id] = value
    inner: set[ast.AST] = set()
    for node in ast.walk(module):  # breadth first: a whole expression comes before its parts
        if node in inner or not isinstance(node, ast.expr):
            continue
        value = _text(node, names)
        if value is None or _STATE.rstrip("/") not in value:
            continue
        inner.update(ast.walk(node))
        path = _UNKNOWN.sub("*", value.partition(_STATE)[2]).strip("/")
        if path and not value.partition(_STATE)[0] and not any(mark in path for mark in " \n"):
            yield path, node.lineno


def _text(node: ast.expr, names: dict[str, str]) -> str | None:
    """Return the text an expression stands for, with ``*`` for unknown parts; None if it is no text at all."""
    match node:
        case ast.Constant(value=str() as text):
            found: str | None = text
        case ast.Name(id=name):
            found = names.get(name)
        case ast.JoinedStr(values=parts):
            found = "".join(_text(part, names) or "*" for part in parts)
        case ast.FormattedValue(value=value):
            found = _text(value, names) or "*"
        case ast.IfExp(body=body, orelse=other):
            found = _text(body, names) or _text(other, names)
        case ast.BinOp(left=left, op=ast.Div() | ast.Add() as sign, right=right):
            first, middle = _text(left, names), "/" if isinstance(sign, ast.Div) else ""
            found = None if first is None else f"{first}{middle}{_text(right, names) or '*'}"
        case ast.Call(func=ast.Attribute(attr="join"), args=[base, *rest]) if rest:
            found = "/".join((_text(one, names) or "*").rstrip("/") for one in (base, *rest))
        case ast.Call(func=ast.Name(id="Path") | ast.Attribute(attr="Path"), args=[only]):
            found = _text(only, names)
        case _:
            found = _variable(node)
    return found


def _variable(node: ast.expr) -> str | None:
    """Return the folder a look into the environment gives: ``os.environ["PHT_STATE"]``, ``os.getenv("PHT_STATE")``."""
    match node:
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return _VARIABLES.get(name)
        case ast.Call(args=[ast.Constant(value=str() as name), *_]):
            return _VARIABLES.get(name)
        case _:
            return None
