"""A config file."""

from __future__ import annotations

from fuzz.files import written
from tlsgate.config import Config, ConfigError, load


def fuzz(data: bytes) -> None:
    path = written(data, "tlsgate.toml")
    try:
        config = load(path)
    except ConfigError as error:
        assert error.faults
        for fault in error.faults:
            assert str(fault).isprintable()
            assert fault.line is None or 1 <= fault.line <= data.count(b"\n") + 1
    else:
        assert isinstance(config, Config)
