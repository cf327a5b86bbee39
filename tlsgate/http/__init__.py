"""HTTP/1.1 as a client: requests to servers that the config names (RFC 9110, 9112)."""
