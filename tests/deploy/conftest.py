"""Tools that are unpacked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.tools import unpack_kubernetes_tools


@dataclass(frozen=True, slots=True)
class KubernetesTools:
    helm: Path
    kubectl: Path


@pytest.fixture(scope="session")
def kubernetes_tools(tmp_path_factory: pytest.TempPathFactory) -> KubernetesTools:
    return KubernetesTools(*unpack_kubernetes_tools(tmp_path_factory.mktemp("kubernetes-tools")))
