"""What passes for a host's name when strangers give it."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?!(?:.*\.)?[0-9]+\Z){_LABEL}(?:\.{_LABEL})*")
_LONGEST = 253  # RFC 1035 2.3.4, as text without the root's dot


def is_host_name(text: str) -> bool:
    """Whether it has only letters, digits, "-" and "_" in its labels (RFC 1123 2.1; "_" is about), and isn't a number.

    Such a name is fit for logs, headers and XCLIENT as it is.
    """
    return len(text) <= _LONGEST and _HOST_NAME.fullmatch(text) is not None
