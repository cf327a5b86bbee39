"""Messages whose links lead to sites that are on URI lists, such as SURBL's."""

from tlsgate.mail.surbl.findings import surbl_findings
from tlsgate.mail.surbl.links import Links
from tlsgate.mail.surbl.lists import Listed, SurblLists, SurblTrace
from tlsgate.mail.surbl.look_ups import LinkLookUps, SurblListing
from tlsgate.mail.surbl.message_links import MessageLinks
from tlsgate.mail.surbl.scanner import Scanner
from tlsgate.mail.surbl.site import Site
from tlsgate.mail.surbl.suffixes import Suffixes, SuffixesMissing, missing_extra

__all__ = [
    "LinkLookUps",
    "Links",
    "Listed",
    "MessageLinks",
    "Scanner",
    "Site",
    "Suffixes",
    "SuffixesMissing",
    "SurblListing",
    "SurblLists",
    "SurblTrace",
    "missing_extra",
    "surbl_findings",
]
