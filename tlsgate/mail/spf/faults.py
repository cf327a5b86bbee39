"""What ends an evaluation at once (RFC 7208 2.6.6 and 2.6.7). Texts are printable ASCII and short."""

from __future__ import annotations


class PermError(Exception):
    """The domain's records are wrong, or ask for more than the limits of RFC 7208 4.6.4 allow."""


class TempError(Exception):
    """The DNS didn't say."""
