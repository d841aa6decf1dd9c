"""How does a token service answer that a real docker-registry believes?

Distribution project, "Token Authentication Specification" and "Implementation": a JWT under ES256 whose ``kid`` is
the libtrust fingerprint of the key in the registry's ``rootcertbundle``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.certificates import Authority

ISSUER, SERVICE = "test-issuer", "test-registry"


class TokenService:
    """A token service on a thread, with one account; `asked` is what it was asked for."""

    def __init__(self, authority: Authority, *, username: str, password: str) -> None:
        self.authority = authority
        self.expected = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self.seconds = 300
        self.asked: list[tuple[str | None, list[str]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                scopes = query.get("scope", [])
                service.asked.append((self.headers.get("Authorization"), scopes))
                if self.headers.get("Authorization") != service.expected or query.get("service") != [SERVICE]:
                    self.send_response(401)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = json.dumps({"token": service.token(scopes), "expires_in": service.seconds}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self.server.server_port}/token"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def token(self, scopes: list[str]) -> str:
        """Return a token that grants all of `scopes`."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": "tester",
            "aud": SERVICE,
            "nbf": now - 5,
            "iat": now,
            "exp": now + self.seconds,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        header = {"typ": "JWT", "alg": "ES256", "kid": self._key_id()}
        signed = _base64(json.dumps(header).encode()) + "." + _base64(json.dumps(claims).encode())
        r, s = decode_dss_signature(self.authority.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return signed + "." + _base64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def _key_id(self) -> str:
        der = self.authority.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        return ":".join(text[at : at + 4] for at in range(0, len(text), 4))

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
