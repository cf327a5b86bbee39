"""The data plane: bytes between two sockets, at the lowest cost per byte and per idle session."""

from tlsgate.relay.pump import Pump
from tlsgate.relay.relaying import Relayed, Relaying

__all__ = ["Pump", "Relayed", "Relaying"]
