"""TLS: contexts from the config, the choice of one by server name, and streams that pyOpenSSL runs on the socket."""

from tlsgate.tls import library as library  # before anybody imports pyOpenSSL
