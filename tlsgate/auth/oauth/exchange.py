"""What this room needs of an HTTP client; the caller gives it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

# How long an answer may take, in seconds.
PATIENCE = 5.0
LARGEST_ANSWER = 256 * 1024

# A URL in, the content of its 200 out, of LARGEST_ANSWER octets at most. Raises FetchFailed.
Fetch = Callable[[str], Awaitable[bytes]]
# So with a form's content and headers of the request.
Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[bytes]]


class FetchFailed(Exception):
    """No answer that can be used. The text says why in a few words, and shows no secret and no token."""
