"""Other proxies' configs to ours: ``tlsgate import``. One file a source, one for each one's syntax."""
