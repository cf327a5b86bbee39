"""tlsgate import: exit codes, and what goes where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsgate.cli import main
from tlsgate.config import load

GOOD = "cert = /etc/s.pem\n[imaps]\naccept = 993\nconnect = 143\n"


def run(path: Path, text: str, source: str) -> int:
    path.write_text(text)
    return main(["import", source, str(path)])


def test_all_is_carried_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "s.conf", GOOD, "stunnel") == 0
    said = capsys.readouterr()
    assert said.err == ""
    made = tmp_path / "made.toml"
    made.write_text(said.out)
    assert [each.name for each in load(made).listeners] == ["imaps"]


def test_partly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each on standard error, and a comment where it belongs; what is printed loads all the same."""
    path = tmp_path / "s.conf"
    assert run(path, f"{GOOD}ciphers = HIGH\n[https]\naccept = 443\nconnect = 80\n", "stunnel") == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines == [
        f"{path}:5: ciphers: tlsgate has its own",
        f"{path}:6: [https]: which of mail's protocols it is can't be told from its ports or its name",
    ]
    assert all(f"# not carried over: {line}" in said.out.splitlines() for line in lines)
    made = tmp_path / "made.toml"
    made.write_text(said.out)
    load(made)


@pytest.mark.parametrize(
    ("source", "text", "why"),
    [
        ("nginx", "mail {", ':1: the file ends before a ";" or "}"'),
        ("perdition", "protocol MANAGESIEVE", "isn't one that tlsgate speaks"),
        ("stunnel", "[https]\naccept = 443\nconnect = 80\n", "nothing was found that tlsgate could take over"),
    ],
)
def test_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, text: str, why: str) -> None:
    """No config is printed: one without listeners is none."""
    assert run(tmp_path / "a.conf", text, source) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert why in said.err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "nginx", str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/gone: No such file or directory\n"


def test_a_source_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["import", "haproxy", str(tmp_path)])
    assert caught.value.code == 2
    assert "nginx" in capsys.readouterr().err
