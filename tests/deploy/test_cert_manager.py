"""certs/cert-manager: the certificate ends up where the gateway looks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.conftest import KubernetesTools
from tests.deploy.tools import DEPLOY, Document, documents, succeeds
from tlsgate.config import load

HERE = DEPLOY.parent / "certs" / "cert-manager"


@pytest.fixture(scope="module")
def manifests(kubernetes_tools: KubernetesTools) -> list[Document]:
    return documents(succeeds(kubernetes_tools.kubectl, "kustomize", HERE))


@pytest.fixture(scope="module")
def certificate(manifests: list[Document]) -> Document:
    (found,) = [each for each in manifests if each["kind"] == "Certificate"]
    assert found["apiVersion"] == "cert-manager.io/v1"
    return found


def test_its_secret_is_mounted_where_the_config_looks(manifests: list[Document], certificate: Document) -> None:
    """Another name, and the pod waits for a secret that nobody makes."""
    (deployment,) = [each for each in manifests if each["kind"] == "Deployment"]
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    sources = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    secrets = {each["secret"]["name"]: each["secret"].get("items", []) for each in sources if "secret" in each}
    mounted = {item["path"] for item in secrets[certificate["spec"]["secretName"]]}
    settings = load(DEPLOY / "kubernetes" / "gateway" / "tlsgate.toml")
    assert {settings.tls.certificate.name, settings.tls.private_key.name} == mounted
    assert all("subPath" not in mount for each in pod["containers"] for mount in each["volumeMounts"])


def test_it_is_for_the_name_that_the_gateway_greets_with(certificate: Document) -> None:
    settings = load(DEPLOY / "kubernetes" / "gateway" / "tlsgate.toml")
    assert settings.server.hostname in certificate["spec"]["dnsNames"]


def test_its_keys_are_known(certificate: Document) -> None:
    """The API server would drop a misspelt one without a word: those of cert-manager's reference for v1."""
    spec: dict[str, Any] = certificate["spec"]
    assert spec.keys() <= {"secretName", "dnsNames", "usages", "privateKey", "issuerRef", "duration", "renewBefore"}
    assert spec["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
    assert set(spec["usages"]) <= {"digital signature", "server auth", "key encipherment"}
    assert spec["issuerRef"].keys() == {"group", "kind", "name"}


def test_readme_names_the_files(certificate: Document) -> None:
    text = Path(HERE.parent, "README.md").read_text(encoding="utf-8")
    assert f"`{certificate['spec']['secretName']}`" in text
