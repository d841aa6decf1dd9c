"""What could an attacker do who owns the registry?

`tamper.py REGISTRY TRAIN drop|alter` replaces a train (its id) that waits for its owner `alice` by a copy in which the
second hospital's journey entry is missing (`drop`), or has one bit changed (`alter`). The attacker cannot read the
entry, nor find the train: its id is told by the owner here, and gives the tag. It speaks plain OCI: over HTTP, or in a folder of image layouts (`layout:FOLDER`). The original is kept beside,
so it may be run again. Standard library only.
"""

import base64
import hashlib
import json
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Protocol

MAILBOX = "mailbox/alice"
LETTERS = "application/vnd.pht.train.letters.v1+tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SECOND = 1
BLOCK = 512


def digest_of(data: bytes) -> str:
    """Name bytes as OCI does."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Mailbox(Protocol):
    """What the attacker needs of a registry."""

    def tags(self) -> list[str]: ...

    def manifest(self, tag: str) -> bytes: ...

    def blob(self, digest: str) -> bytes: ...

    def put_blob(self, data: bytes) -> None: ...

    def put_manifest(self, tag: str, data: bytes) -> None: ...


class Folder:
    """A mailbox that is an image layout in a folder."""

    def __init__(self, root: str) -> None:
        self._folder = Path(root) / MAILBOX
        self._index = self._folder / "index.json"

    def _entries(self) -> list[dict]:
        return json.loads(self._index.read_bytes())["manifests"]

    def _tag(self, entry: dict) -> str:
        return entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "")

    def tags(self) -> list[str]:
        return [self._tag(entry) for entry in self._entries()]

    def manifest(self, tag: str) -> bytes:
        return self.blob(next(entry["digest"] for entry in self._entries() if self._tag(entry) == tag))

    def blob(self, digest: str) -> bytes:
        return (self._folder / "blobs" / digest.replace(":", "/")).read_bytes()

    def put_blob(self, data: bytes) -> None:
        (self._folder / "blobs" / digest_of(data).replace(":", "/")).write_bytes(data)

    def put_manifest(self, tag: str, data: bytes) -> None:
        self.put_blob(data)
        index = json.loads(self._index.read_bytes())
        others = [entry for entry in index["manifests"] if self._tag(entry) != tag]
        entry = {"mediaType": MANIFEST, "digest": digest_of(data), "size": len(data)}
        entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        self._index.write_bytes(json.dumps({**index, "manifests": [*others, entry]}).encode())


_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names


class Http:
    """A mailbox in a registry that anybody here may write to."""

    def __init__(self, root: str) -> None:
        parts = urllib.parse.urlsplit(root)
        self._base = f"{parts.scheme}://{parts.netloc}/v2{parts.path.rstrip('/')}/{MAILBOX}"

    def _ask(self, method: str, url: str, data: bytes | None = None, kind: str = MANIFEST) -> tuple[bytes, str]:
        header = {"Accept": MANIFEST} if data is None else {"Content-Type": kind}
        request = urllib.request.Request(url, data=data, method=method, headers=header)  # noqa: S310 - the demo's own registry
        with _DIRECTLY.open(request) as answer:
            return answer.read(), answer.headers.get("Location", "")

    def tags(self) -> list[str]:
        return json.loads(self._ask("GET", f"{self._base}/tags/list")[0])["tags"]

    def manifest(self, tag: str) -> bytes:
        return self._ask("GET", f"{self._base}/manifests/{tag}")[0]

    def blob(self, digest: str) -> bytes:
        return self._ask("GET", f"{self._base}/blobs/{digest}")[0]

    def put_blob(self, data: bytes) -> None:
        _, place = self._ask("POST", f"{self._base}/blobs/uploads/", b"", "application/octet-stream")
        place = urllib.parse.urljoin(self._base, place)
        mark = "&" if "?" in place else "?"
        self._ask("PUT", f"{place}{mark}digest={digest_of(data)}", data, "application/octet-stream")

    def put_manifest(self, tag: str, data: bytes) -> None:
        self._ask("PUT", f"{self._base}/manifests/{tag}", data)


def letters_in(archive: bytes) -> list[tuple[bytes, bytes]]:
    """Split a tar archive into headers and contents: the letters with the journey entries."""
    found, at = [], 0
    while archive[at : at + BLOCK].strip(b"\0"):
        header, size = archive[at : at + BLOCK], int(archive[at + 124 : at + 135], 8)
        found.append((header, archive[at + BLOCK : at + BLOCK + size]))
        at += BLOCK + size + -size % BLOCK
    return found


def archive_of(letters: list[bytes], like: bytes) -> bytes:
    """Put letters into an archive again, with headers like one of those that were there."""
    archive = b""
    for number, letter in enumerate(letters, 1):
        name = f"{number}.age"
        bare = name.encode().ljust(100, b"\0") + like[100:124] + b"%011o\0" % len(letter) + like[136:148] + b" " * 8
        bare += like[156:]
        header = bare[:148] + b"%06o\0 " % sum(bare) + bare[156:]
        archive += header + letter + bytes(-len(letter) % BLOCK)
    return archive + bytes(2 * BLOCK)


def tampered(archive: bytes, how: str) -> bytes:
    """Leave the letter with the second entry out, or change one bit of what is sealed in it."""
    found = letters_in(archive)
    letters = [letter for _, letter in found]
    second = letters.pop(SECOND)
    if how == "alter":
        letters.insert(SECOND, second[:-1] + bytes([second[-1] ^ 1]))
    return archive_of(letters, like=found[0][0])


def tag_of(train: str) -> str:
    """Return the tag under which a train waits for `alice` at home."""
    return "t-" + hashlib.sha256(f"pht-tag-v1\n{train}\nalice\nhome\ntrain\n".encode()).hexdigest()


def main() -> None:
    """Replace the train by the copy."""
    root, train, how = sys.argv[1:]
    mailbox: Mailbox = Folder(root.removeprefix("layout:")) if root.startswith("layout:") else Http(root)
    tag = tag_of(train)
    kept = f"original-{tag.removeprefix('t-')}"
    if kept not in mailbox.tags():
        mailbox.put_manifest(kept, mailbox.manifest(tag))
    manifest = json.loads(mailbox.manifest(kept))
    inside = manifest.get("annotations", {})
    if LETTERS in inside:  # as a rule: letters are small
        inside[LETTERS] = base64.b64encode(tampered(base64.b64decode(inside[LETTERS]), how)).decode()
    else:
        layer = next(one for one in manifest["layers"] if one["mediaType"] == LETTERS)
        archive = tampered(mailbox.blob(layer["digest"]), how)
        mailbox.put_blob(archive)
        layer |= {"digest": digest_of(archive), "size": len(archive)}
    mailbox.put_manifest(tag, json.dumps(manifest).encode())
    print(f"{MAILBOX}:{tag} now names another copy: {digest_of(mailbox.manifest(tag))}")


if __name__ == "__main__":
    main()
