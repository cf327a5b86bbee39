"""OAuth: is this access token good, and whose is it. JWTs need the extra tlsgate[oauth]."""
