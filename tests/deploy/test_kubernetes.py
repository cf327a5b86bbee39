"""Manifests of the kustomize bases and of the chart: the API takes them, and they fit together and to their config."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import pytest

import tlsgate
from tests.deploy.conftest import KubernetesTools
from tests.deploy.operator_schema import schema_of
from tests.deploy.tools import DEPLOY, Document, check, documents, package, succeeds
from tlsgate.config import Config, HostPort, load

CHART = DEPLOY / "helm" / "tlsgate"
# The first that the sleep of preStop is in, for whoever asks for it by name, and the newest whose schema we have.
VERSIONS = ("1.30", "1.37")
OF_THE_OPERATOR = ("PodMonitor", "PrometheusRule")  # Prometheus's
EVERYTHING = (
    *("--set", "podMonitor.enabled=true", "--set", "podMonitor.labels.release=prometheus"),
    *("--set", "prometheusRule.enabled=true", "--set", "autoscaler.enabled=false", "--set", "files={users,lists}"),
    *(
        "--set",
        "image.digest=sha256:" + 64 * "a",
        "--set",
        "service.type=ClusterIP",
        "--set",
        "imagePullSecrets[0].name=x",
    ),
    *("--set", "podAnnotations.a=b", "--set", "nodeSelector.a=b", "--set", "tolerations[0].key=a"),
)


@dataclass(frozen=True, slots=True)
class Manifests:
    """What would be applied."""

    all: list[Document]

    def of(self, *kinds: str) -> list[Document]:
        return [each for each in self.all if each["kind"] in kinds]

    @property
    def workload(self) -> Document:
        (found,) = self.of("Deployment", "StatefulSet")
        return found

    @property
    def pod(self) -> Document:
        template: Document = self.workload["spec"]["template"]
        return template

    @property
    def container(self) -> Document:
        (found,) = [each for each in self.pod["spec"]["containers"] if each["name"] == "tlsgate"]
        assert isinstance(found, dict)
        return found

    @property
    def ports(self) -> dict[str, int]:
        """The container's, by name."""
        return {each["name"]: each["containerPort"] for each in self.container["ports"]}

    @property
    def config(self) -> str:
        (secret,) = self.of("Secret")
        if "stringData" in secret:
            return str(secret["stringData"]["tlsgate.toml"])
        return base64.b64decode(secret["data"]["tlsgate.toml"]).decode()


@pytest.fixture(scope="module", params=["gateway", "example-sidecar", "chart", "chart with everything"])
def manifests(request: pytest.FixtureRequest, kubernetes_tools: KubernetesTools) -> Manifests:
    if request.param.startswith("chart"):
        options = EVERYTHING if request.param.endswith("everything") else ()
        text = succeeds(kubernetes_tools.helm, "template", "mail", CHART, "--kube-version", "1.37", *options)
    else:
        text = succeeds(kubernetes_tools.kubectl, "kustomize", DEPLOY / "kubernetes" / request.param)
    return Manifests(documents(text))


@pytest.fixture
def settings(manifests: Manifests, tmp_path: Path) -> Config:
    return load(check(manifests.config, tmp_path, "tls.crt", "tls.key"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_takes_them(manifests: Manifests, version: str) -> None:
    """Strictly: a key that the API doesn't know is dropped there, and with it what it was to do."""
    kubernetes_validate = package("kubernetes_validate")
    checked = 0
    for each in manifests.all:
        if each["kind"] not in OF_THE_OPERATOR:
            kubernetes_validate.validate(each, version, strict=True)
            checked += 1
    assert checked >= 4


def test_the_operator_of_prometheus_takes_its_own(manifests: Manifests) -> None:
    """Strictly, as the API: a mistyped key of a monitor is dropped, and nothing is measured, or without the token."""
    validator = package("jsonschema").Draft202012Validator
    for each in manifests.of(*OF_THE_OPERATOR):
        assert [fault.message for fault in validator(schema_of(each["kind"])).iter_errors(each)] == []


@pytest.mark.parametrize(
    "wrong", [{"pathh": "/metrics"}, {"path": 5}, {"interval": "5 minutes"}, {"authorization": {"x": {}}}]
)
def test_what_the_operator_would_not_take_is_found(wrong: Document) -> None:
    """The schema is made from a package's source: one that took everything would show nothing."""
    validator = package("jsonschema").Draft202012Validator(schema_of("PodMonitor"))
    (monitor,) = documents((DEPLOY / "kubernetes" / "gateway" / "pod-monitor.yaml").read_text())
    assert validator.is_valid(monitor)
    monitor["spec"]["podMetricsEndpoints"][0] |= wrong
    assert not validator.is_valid(monitor)
    assert not validator.is_valid({"kind": "PodMonitor"})


def test_they_select_the_pods(manifests: Manifests) -> None:
    """A policy or budget that selects nothing holds nobody, and says nothing."""
    selectors = [each["spec"]["selector"]["matchLabels"] for each in manifests.of("PodDisruptionBudget", "PodMonitor")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in manifests.of("NetworkPolicy")]
    selectors += [each["spec"]["selector"] for each in manifests.of("Service")]
    selectors += [manifests.workload["spec"]["selector"]["matchLabels"]]
    selectors += [
        each["labelSelector"]["matchLabels"] for each in manifests.pod["spec"].get("topologySpreadConstraints", ())
    ]
    assert len(selectors) >= 4
    labels = manifests.pod["metadata"]["labels"]
    assert [selector for selector in selectors if not selector or not selector.items() <= labels.items()] == []
    for autoscaler in manifests.of("HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == manifests.workload["metadata"]["name"]
        assert "replicas" not in manifests.workload["spec"]


def test_ports_are_those_of_the_config(manifests: Manifests, settings: Config) -> None:
    """A service to a port where nobody listens looks well to Kubernetes."""
    listening = {each.name: each.address.port for each in settings.listeners if isinstance(each.address, HostPort)}
    assert isinstance(settings.admin.address, HostPort)
    ports = manifests.ports
    assert ports["admin"] == settings.admin.address.port
    assert listening.items() <= ports.items()
    (service,) = manifests.of("Service")
    assert {each["targetPort"] for each in service["spec"]["ports"]} == listening.keys()


def test_only_the_ports_of_tlsgate_can_be_reached(manifests: Manifests) -> None:
    """And metrics by Prometheus alone: the legacy server's own ports would be open in clear."""
    (policy,) = manifests.of("NetworkPolicy")
    assert "Ingress" in policy["spec"]["policyTypes"]
    for rule in policy["spec"]["ingress"]:
        ports = {port["port"] for port in rule["ports"]}
        assert ports
        assert ports <= manifests.ports.keys()
        assert ("admin" in ports) == ("from" in rule)
    for monitor in manifests.of("PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in manifests.ports


def test_sessions_are_given_the_time_to_drain(manifests: Manifests, settings: Config) -> None:
    """preStop's sleep counts too; and a mail server in the same pod must be there until the end."""
    patience = manifests.pod["spec"]["terminationGracePeriodSeconds"]
    pause = manifests.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert patience > pause + settings.server.drain
    for other in manifests.pod["spec"]["containers"]:
        if other["name"] != "tlsgate":
            assert pause + settings.server.drain <= other["lifecycle"]["preStop"]["sleep"]["seconds"] < patience


def test_probes_ask_the_admin_port(manifests: Manifests) -> None:
    asked = {name: manifests.container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: each["path"] for name, each in asked.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {each["port"] for each in asked.values()} == {"admin"}


def test_it_may_do_nothing_special(manifests: Manifests) -> None:
    """What Kubernetes calls restricted, and a root that is read-only."""
    pod, own = manifests.pod["spec"].get("securityContext", {}), manifests.container["securityContext"]
    both = {**pod, **own}
    assert both["runAsNonRoot"] is True
    assert both["runAsUser"] > 0
    assert both["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert manifests.pod["spec"]["automountServiceAccountToken"] is False


def test_secrets_are_read_by_its_group_alone(manifests: Manifests) -> None:
    """Files of secrets belong to root: the group is what reads them, and others must not."""
    mounted = {each["name"] for each in manifests.container["volumeMounts"]}
    sources = [
        each.get("projected") or each["secret"]
        for each in manifests.pod["spec"]["volumes"]
        if each["name"] in mounted and ("projected" in each or "secret" in each)
    ]
    assert [each["defaultMode"] for each in sources] == [0o440] * len(sources)
    pod, own = manifests.pod["spec"].get("securityContext", {}), manifests.container["securityContext"]
    assert pod.get("fsGroup", 0) == own.get("runAsGroup", pod.get("runAsGroup"))


def test_its_config_has_a_volume_and_every_mount_too(manifests: Manifests) -> None:
    volumes = {each["name"]: each for each in manifests.pod["spec"]["volumes"]}
    for mount in manifests.container["volumeMounts"]:
        assert mount["name"] in volumes
    (config,) = [each["projected"] for each in volumes.values() if "projected" in each]
    names = {source["secret"]["name"] for source in config["sources"]}
    (secret,) = manifests.of("Secret")
    assert secret["metadata"]["name"] in names


def test_the_image_is_of_this_version(manifests: Manifests) -> None:
    """A tag that moves would be another program on each node."""
    assert manifests.container["image"] in (f"tlsgate:{tlsgate.__version__}", f"tlsgate@sha256:{64 * 'a'}")


def test_rules_of_the_operator_are_those_that_are_tested(manifests: Manifests) -> None:
    alerts = documents((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    rules = manifests.of("PrometheusRule")
    assert [each["spec"] for each in rules] == alerts[: len(rules)]


def test_the_chart_is_sound(kubernetes_tools: KubernetesTools) -> None:
    succeeds(kubernetes_tools.helm, "lint", "--strict", CHART)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("drain=5m", "drain"),
        ("ports[0].name=admin,ports[0].port=1,ports[0].containerPort=1024", "ports"),
        ("imagee.tag=1", "imagee"),
    ],
)
def test_the_chart_refuses_values_that_cannot_be(kubernetes_tools: KubernetesTools, value: str, said: str) -> None:
    """A key that is misspelt has no effect, and nobody says so."""
    with pytest.raises(AssertionError, match=said):
        succeeds(kubernetes_tools.helm, "template", "mail", CHART, "--set", value)


def test_the_chart_is_of_this_version() -> None:
    (chart,) = documents((CHART / "Chart.yaml").read_text())
    assert str(chart["appVersion"]) == tlsgate.__version__
