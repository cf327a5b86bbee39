"""Users, their mailboxes, and the two SASL mechanisms that old servers have."""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping

from tlsgate.demo.mailbox import Mailbox

Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends a challenge (base64) in the protocol's frame and returns the client's line."""


class SaslError(Exception):
    """The exchange was cancelled, is malformed, or names a mechanism that is not offered."""


class Accounts:
    """The users that may log in, each with a mailbox of their own."""

    def __init__(self, users: Mapping[str, str], messages: Iterable[bytes]) -> None:
        stored = tuple(messages)
        self._passwords = {user.encode(): password.encode() for user, password in users.items()}
        self._mailboxes = {user: Mailbox(stored) for user in self._passwords}

    def mailbox(self, user: str) -> Mailbox:
        """Return a user's mailbox. Raises KeyError."""
        return self._mailboxes[user.encode()]

    def login(self, user: bytes, password: bytes) -> Mailbox | None:
        """Return the user's mailbox, or None where the user or the password is wrong."""
        expected = self._passwords.get(user)
        if expected is None or not hmac.compare_digest(expected, password):
            return None
        return self._mailboxes[user]

    async def authenticate(self, mechanism: bytes, initial: bytes | None, ask: Ask) -> Mailbox | None:
        """Run a SASL exchange (RFC 4422): PLAIN (RFC 4616) or LOGIN, `initial` being the initial response.

        Returns as `login` does. Raises SaslError.
        """
        match mechanism.upper():
            case b"PLAIN":
                fields = _decode(await ask(b"") if initial is None else initial).split(b"\0")
                if len(fields) != 3:
                    raise SaslError("PLAIN takes authzid NUL authcid NUL password")
                authzid, user, password = fields
                return self.login(user, password) if authzid in (b"", user) else None
            case b"LOGIN":
                user = _decode(await ask(b64encode(b"Username:")) if initial is None else initial)
                return self.login(user, _decode(await ask(b64encode(b"Password:"))))
            case _:
                raise SaslError("no such mechanism")


def _decode(response: bytes) -> bytes:
    if response == b"*":
        raise SaslError("cancelled")
    if response == b"=":
        return b""
    try:
        return b64decode(response, validate=True)
    except binascii.Error:
        raise SaslError("not base64") from None
