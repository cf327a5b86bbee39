"""tlsgate report, against what is no gateway."""

from __future__ import annotations

import pytest

from tests.cli.test_bans import run
from tests.system.peers import HOST, free_port


def test_a_gateway_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "report", "--admin", f"{HOST}:{free_port()}")
    assert (code, out) == (1, "")
    assert "can't reach" in err
