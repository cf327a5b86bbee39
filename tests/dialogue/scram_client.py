"""A SCRAM-SHA-256 client, as far as tests need one (RFC 5802 3)."""

from __future__ import annotations

import base64
import hashlib
import hmac

NONCE = "rOprNGfwEbeRWgbNEkqO"


def client_first(header: str = "n,,", user: str = "user") -> bytes:
    return f"{header}n={user},r={NONCE}".encode()


def client_final(
    password: str, server_first: bytes, *, header: str = "n,,", user: str = "user", binding: bytes = b"", more: str = ""
) -> bytes:
    """``more``: attributes between nonce and proof, each behind a comma."""
    nonce, salt, iterations = (field[2:] for field in server_first.decode().split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    channel = base64.b64encode(header.encode() + binding).decode()
    without_proof = f"c={channel},r={nonce}{more}"
    message = f"n={user},r={NONCE},".encode() + server_first + b"," + without_proof.encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return without_proof.encode() + b",p=" + base64.b64encode(proof)
