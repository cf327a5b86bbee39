"""SPF (RFC 7208): may this client send mail in that domain's name? Asked of the one resolver."""

from tlsgate.mail.spf.check import check_helo, check_host, check_mail_from, mail_from_identity
from tlsgate.mail.spf.result import Identity, Result, SpfResult

__all__ = [
    "Identity",
    "Result",
    "SpfResult",
    "check_helo",
    "check_host",
    "check_mail_from",
    "mail_from_identity",
]
