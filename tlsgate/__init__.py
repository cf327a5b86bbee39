"""tlsgate: a TLS-enforcing gateway in front of legacy mail servers."""

__version__ = "0.1.0"
