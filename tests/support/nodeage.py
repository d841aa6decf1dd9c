"""What does an independent implementation of age, with hybrid recipients, make of our files?

The npm packages `age-encryption`, and `cctv-age` with the format's whole test kit, both by the author of the format, run
with Node.js. Installed once, under ``.state/node``. One process answers everything that is asked here: it takes longer to begin
than to answer.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import subprocess
from typing import Final

from tests.support import npm

PACKAGES: Final = {"age-encryption": "0.3.1", "cctv-age": "0.2.0"}

_SCRIPT: Final = """
import * as age from "age-encryption"
import * as kit from "cctv-age"
import { createInterface } from "node:readline"

async function answer(order) {
    const data = order.data === undefined ? undefined : new Uint8Array(Buffer.from(order.data, "base64"))
    if (order.act === "kit") {
        const files = Object.entries(kit).map(([name, file]) => [name, Buffer.from(file).toString("base64")])
        return Buffer.from(JSON.stringify(Object.fromEntries(files)))
    }
    if (order.act === "generate") {
        return Buffer.from(await age.generateHybridIdentity())
    }
    if (order.act === "recipient") {
        return Buffer.from(await age.identityToRecipient(order.key))
    }
    if (order.act === "encrypt") {
        const encrypter = new age.Encrypter()
        encrypter.addRecipient(order.key)
        return encrypter.encrypt(data)
    }
    if (order.act === "lock") {
        const encrypter = new age.Encrypter()
        encrypter.setPassphrase(order.key)
        encrypter.setScryptWorkFactor(order.work)
        return encrypter.encrypt(data)
    }
    const decrypter = new age.Decrypter()
    decrypter.addIdentity(order.key)
    return decrypter.decrypt(data)
}

for await (const line of createInterface({ input: process.stdin })) {
    const told = await answer(JSON.parse(line)).then(
        (found) => ({ found: Buffer.from(found).toString("base64") }),
        (error) => ({ error: String(error) }),
    )
    process.stdout.write(JSON.stringify(told) + "\\n")
}
"""


def generate() -> str:
    """Return a new hybrid identity."""
    return _ask(act="generate").decode()


def recipient_of(identity: str) -> str:
    """Return the recipient of an identity."""
    return _ask(act="recipient", key=identity).decode()


def encrypt(recipient: str, plaintext: bytes) -> bytes:
    """Seal `plaintext`."""
    return _ask(act="encrypt", key=recipient, data=base64.b64encode(plaintext).decode())


def lock(passphrase: str, plaintext: bytes, *, log_n: int) -> bytes:
    """Seal `plaintext` under a passphrase that is as quickly tried as `log_n` says; other programs choose that alone."""
    return _ask(act="lock", key=passphrase, data=base64.b64encode(plaintext).decode(), work=log_n)


def decrypt(identity: str, sealed: bytes) -> bytes:
    """Open `sealed`."""
    return _ask(act="decrypt", key=identity, data=base64.b64encode(sealed).decode())


def test_kit() -> dict[str, bytes]:
    """Return the files of the C2SP age test kit (CCTV), by name."""
    return {name: base64.b64decode(file) for name, file in json.loads(_ask(act="kit")).items()}


def _ask(**order: str | int) -> bytes:
    """Ask the script. The order goes through standard input: arguments are seen by everybody."""
    node = _node()
    assert node.stdin is not None
    assert node.stdout is not None
    node.stdin.write(json.dumps(order).encode() + b"\n")
    node.stdin.flush()
    told = json.loads(node.stdout.readline())
    assert "error" not in told, told
    return base64.b64decode(told["found"])


@functools.cache
def _node() -> subprocess.Popen[bytes]:
    """Start the script, which ends with us."""
    command = [npm.program("node"), "--input-type=module", "--eval", _SCRIPT]
    home = npm.installed("node", PACKAGES)
    node = subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(node.communicate)
    return node
