from __future__ import annotations

import contextlib
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from security.digest import digest_of
from security.errors import InvalidInput, KeyUnreadable, MalformedStatement, SignatureInvalid
from security.keys.keyset import KeySet, PublicKey, Scheme, SoftwareSigner, confirms, generate, spell

SCHEMES = list(Scheme)


def pem(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_signature_holds_for_its_data_and_no_other(scheme: Scheme) -> None:
    signer = SoftwareSigner.generate(scheme)
    signature = signer.sign(b"these bytes")
    signer.public.verify(b"these bytes", signature)
    with pytest.raises(SignatureInvalid):
        signer.public.verify(b"these bytes.", signature)
    with pytest.raises(SignatureInvalid):
        SoftwareSigner.generate(scheme).public.verify(b"these bytes", signature)
    with pytest.raises(SignatureInvalid):
        signer.public.verify(b"these bytes", b"")


@pytest.mark.parametrize(("scheme", "length"), [(Scheme.ED25519, 64), (Scheme.ML_DSA_65, 3309)])
def test_signatures_have_the_length_of_their_standard(scheme: Scheme, length: int) -> None:
    assert len(SoftwareSigner.generate(scheme).sign(b"x")) == length


def test_ml_dsa_signs_the_data_and_not_the_hash_of_tap_21() -> None:
    signer = SoftwareSigner.generate(Scheme.ML_DSA_65)
    prefixed = b"tuf\x01" + hashlib.sha512(b"data").digest()
    signature = signer.sign(b"data")
    with pytest.raises(SignatureInvalid):
        signer.public.verify(prefixed, signature)


def test_a_p256_signature_is_accepted_in_der_only() -> None:
    signer = SoftwareSigner.generate(Scheme.P256)
    signature = signer.sign(b"x")
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    padded = bytes([0x30, signature[1] + 1, 0x02, signature[3] + 1, 0]) + signature[4:]  # r with a zero too many
    long_form = bytes([0x30, 0x81, signature[1]]) + signature[2:]
    for other in (raw, padded, long_form, signature + b"\0", signature[:-1]):
        with pytest.raises(SignatureInvalid):
            signer.public.verify(b"x", other)


def ed25519_pem(height: int) -> str:
    key = ed25519.Ed25519PublicKey.from_public_bytes(height.to_bytes(32, "little"))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, spki).decode()


def test_a_key_under_which_one_signature_passes_for_every_message_is_refused() -> None:
    """The attack works against the library alone, on each such point it loads; so ours must refuse them."""
    signature = (1).to_bytes(32, "little") + bytes(32)
    forgeable = []
    for height in (1, 1 | 1 << 255, 2**255 - 18):
        text = ed25519_pem(height)
        theirs = serialization.load_pem_public_key(text.encode())
        assert isinstance(theirs, ed25519.Ed25519PublicKey)
        with contextlib.suppress(InvalidSignature):
            theirs.verify(signature, b"one message")
            theirs.verify(signature, b"another message")
            forgeable.append(text)
    assert forgeable
    for text in forgeable:
        with pytest.raises(MalformedStatement):
            PublicKey.of_pem(text)


def test_a_public_key_has_one_text() -> None:
    good = SoftwareSigner.generate(Scheme.ED25519).public.pem
    for other in (good.rstrip("\n"), good + "\n", "x\n" + good, good.replace("\n", "\r\n"), good + good, "", "é"):
        with pytest.raises(MalformedStatement):
            PublicKey.of_pem(other)


def test_other_algorithms_and_curves_are_refused() -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    p384 = ec.generate_private_key(ec.SECP384R1())
    for key in (rsa_key, p384):
        with pytest.raises(MalformedStatement):
            PublicKey.of_pem(pem(key.public_key()))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with pytest.raises(KeyUnreadable):
            SoftwareSigner.of_pkcs8(private)


def test_a_key_id_is_the_hash_of_the_der() -> None:
    signer = SoftwareSigner.generate(Scheme.P256)
    key = serialization.load_pem_public_key(signer.public.pem.encode())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert signer.public.key_id == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_private_keys_survive_pkcs8(scheme: Scheme) -> None:
    signer = SoftwareSigner.generate(scheme)
    again = SoftwareSigner.of_pkcs8(signer.to_pkcs8())
    assert again.public == signer.public


def test_an_encrypted_or_broken_private_key_is_told_so() -> None:
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    for content in (locked, b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KeyUnreadable):
            SoftwareSigner.of_pkcs8(content)


def test_private_keys_have_no_text() -> None:
    secrets = generate(SCHEMES)
    (first, *_) = secrets.signers
    assert isinstance(first, SoftwareSigner)
    shown = f"{secrets!r} {secrets} {first!r} {first}"
    assert secrets.identity.secret_text() not in shown
    assert "PRIVATE" not in shown
    assert "SoftwareSigner" not in repr(secrets)


def test_a_key_set_names_every_key_in_its_fingerprint() -> None:
    secrets = generate(SCHEMES)
    keys = secrets.key_set
    lines = ["pht-key-set-v1"]
    lines += [f"sign {key.scheme} {key.key_id}" for key in sorted(keys.signing, key=lambda key: key.key_id)]
    lines += [f"seal {keys.sealing}", ""]
    assert keys.fingerprint == digest_of("\n".join(lines).encode())
    other = generate([Scheme.ED25519])
    fewer = KeySet(signing=keys.signing[:2], sealing=keys.sealing)
    resealed = KeySet(signing=keys.signing, sealing=other.key_set.sealing)
    assert len({keys.fingerprint, fewer.fingerprint, resealed.fingerprint}) == 3


def test_a_key_set_is_sorted_distinct_and_sealable() -> None:
    keys = generate([Scheme.ED25519, Scheme.P256]).key_set
    backwards = tuple(reversed(keys.signing))
    many = tuple(sorted((SoftwareSigner.generate(Scheme.ED25519).public for _ in range(5)), key=lambda key: key.key_id))
    for signing in (backwards, (keys.signing[0], keys.signing[0]), (), many):
        with pytest.raises(MalformedStatement):
            KeySet(signing=signing, sealing=keys.sealing)
    for sealing in ("", "age1", keys.sealing[:-1], keys.sealing.upper(), keys.signing[0].pem):
        with pytest.raises(MalformedStatement):
            KeySet(signing=keys.signing, sealing=sealing)


@pytest.mark.parametrize("schemes", [[], [Scheme.P256, Scheme.P256]])
def test_schemes_are_named_once(schemes: list[Scheme]) -> None:
    with pytest.raises(InvalidInput):
        generate(schemes)


def test_a_fingerprint_is_confirmed_as_read_out_or_whole() -> None:
    fingerprint = digest_of(b"x")
    spelled = spell(fingerprint)
    assert len(spelled.split()) == 8
    for text in (spelled, spelled.upper(), spelled.replace(" ", ""), spelled.replace(" ", "-"), str(fingerprint)):
        assert confirms(text, fingerprint)
        assert not confirms(text, digest_of(b"y"))
    assert not confirms(spelled[:-1] + ("0" if spelled[-1] != "0" else "1"), fingerprint)
    for text in ("", spelled[:-5], spelled + " 0000", "zz" * 16):
        with pytest.raises(InvalidInput):
            confirms(text, fingerprint)
