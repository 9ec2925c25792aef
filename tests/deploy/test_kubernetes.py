"""The Kubernetes manifests, held against Kubernetes' schemas, each other and the product: no cluster is asked."""

import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.settings import Settings, load
from tests.deploy.templates import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
# The oldest that knows every field used here (`preStop.sleep`: "Container Lifecycle Hooks"), and the newest there is.
VERSIONS = ("1.30", "1.37")


@pytest.fixture(scope="module")
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Every object, by kind and name."""
    objects = [
        each for path in sorted(FOLDER.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text("utf-8")) if each
    ]
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found


@pytest.fixture
def pod(manifests: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["StatefulSet", "crossfade"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def settings(manifests: dict[tuple[str, str], dict[str, Any]], tmp_path: Path) -> Settings:
    """The settings as the proxy in a pod reads them."""
    file = tmp_path / "crossfade.toml"
    file.write_text(manifests["ConfigMap", "crossfade"]["data"]["crossfade.toml"], "utf-8")
    return load(file, {})


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(manifests: dict[tuple[str, str], dict[str, Any]], version: str) -> None:
    for manifest in manifests.values():
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_a_field_that_kubernetes_does_not_know_is_found(pod: dict[str, Any]) -> None:
    """The schemas are strict: a misspelt field is one that a cluster would drop in silence."""
    misspelt = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod | {"serviceAcountName": "x"}}
    with pytest.raises(kubernetes_validate.ValidationError, match="serviceAcountName"):
        kubernetes_validate.validate(misspelt, VERSIONS[-1], strict=True)


def test_the_settings_are_settings(settings: Settings) -> None:
    assert settings.auth.mode == "sigv4"
    assert settings.admin.guarded
    assert settings.dsql.user != "admin"
    assert settings.stages.table is not None


def test_every_file_that_the_settings_name_is_mounted(settings: Settings, pod: dict[str, Any]) -> None:
    mounted = {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    named = [
        settings.tls_cert,
        settings.tls_key,
        settings.admin.tls_cert,
        settings.admin.operator_token_file,
        settings.admin.read_token_file,
        settings.journal.path,
        *(key.secret_access_key_file for key in settings.auth.keys.values()),
    ]
    for path in named:
        assert path is not None
        assert str(path.parent) in mounted


def test_every_volume_that_is_mounted_is_there(
    manifests: dict[tuple[str, str], dict[str, Any]], pod: dict[str, Any]
) -> None:
    claims = manifests["StatefulSet", "crossfade"]["spec"]["volumeClaimTemplates"]
    there = {each["name"] for each in pod["volumes"]} | {each["metadata"]["name"] for each in claims}
    assert {each["name"] for each in pod["containers"][0]["volumeMounts"]} == there


def test_the_journal_stays_when_a_pod_goes(manifests: dict[tuple[str, str], dict[str, Any]]) -> None:
    spec = manifests["StatefulSet", "crossfade"]["spec"]
    assert {each["metadata"]["name"] for each in spec["volumeClaimTemplates"]} == {"journal"}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_a_pod_has_the_time_to_stop(settings: Settings, pod: dict[str, Any]) -> None:
    waits = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = waits + settings.shutdown.finish_seconds + settings.shutdown.converge_seconds
    assert needed < pod["terminationGracePeriodSeconds"]


def test_probes_ask_the_admin_port_in_its_language(settings: Settings, pod: dict[str, Any]) -> None:
    container = pod["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"data": settings.listen.port, "admin": settings.admin.listen.port}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness", "startup")}
    assert {each["port"] for each in probes.values()} == {"admin"}
    scheme = "HTTPS" if settings.admin.tls_cert else "HTTP"
    assert {each["scheme"] for each in probes.values()} == {scheme}
    assert probes["readiness"]["path"] == "/readyz"
    assert probes["liveness"]["path"] == probes["startup"]["path"] == "/livez"


def test_one_pod_at_a_time_may_be_taken_away(manifests: dict[tuple[str, str], dict[str, Any]]) -> None:
    budget = manifests["PodDisruptionBudget", "crossfade"]["spec"]
    spec = manifests["StatefulSet", "crossfade"]["spec"]
    assert budget["maxUnavailable"] == 1 < spec["replicas"]
    assert budget["selector"] == spec["selector"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_services_choose_the_pods(manifests: dict[tuple[str, str], dict[str, Any]], pod: dict[str, Any]) -> None:
    spec = manifests["StatefulSet", "crossfade"]["spec"]
    assert ("Service", spec["serviceName"]) in manifests
    names = {each["name"] for each in pod["containers"][0]["ports"]}
    for (kind, _), manifest in manifests.items():
        if kind == "Service":
            assert manifest["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
            assert {each["targetPort"] for each in manifest["spec"]["ports"]} <= names


def test_nothing_runs_with_more_rights_than_it_needs(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    inside = pod["containers"][0]["securityContext"]
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["capabilities"] == {"drop": ["ALL"]}


def test_the_user_is_the_images(pod: dict[str, Any]) -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"USER {pod['securityContext']['runAsUser']}" in text


def test_the_mappings_map_is_made_of_files_that_are_there(settings: Settings) -> None:
    """`kubectl create configmap crossfade-mappings --from-file=config/billio.toml`, as the guide has it."""
    for path in settings.mappings or ():
        assert tomllib.loads((ROOT / "config" / path.name).read_text("utf-8"))["table"]
