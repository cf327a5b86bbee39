"""Messages whose links lead to sites that are on URI lists, such as SURBL's."""

from tlsgate.mail.surbl.findings import surbl_findings
from tlsgate.mail.surbl.lists import Listed, SurblLists, SurblTrace
from tlsgate.mail.surbl.look_ups import LinkLookUps, SurblListing
from tlsgate.mail.surbl.scanner import Scanner
from tlsgate.mail.surbl.site import Site
from tlsgate.mail.surbl.suffixes import Suffixes, SuffixesMissing

__all__ = [
    "LinkLookUps",
    "Listed",
    "Scanner",
    "Site",
    "Suffixes",
    "SuffixesMissing",
    "SurblListing",
    "SurblLists",
    "SurblTrace",
    "surbl_findings",
]
