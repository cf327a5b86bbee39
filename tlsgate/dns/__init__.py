"""The one resolver: every question to the DNS is asked through it."""

from tlsgate.dns.answer import Answer, Failed, Failure, Found, Kind, Missing, Question
from tlsgate.dns.resolver import Resolver, ResolverTrace

__all__ = ["Answer", "Failed", "Failure", "Found", "Kind", "Missing", "Question", "Resolver", "ResolverTrace"]
