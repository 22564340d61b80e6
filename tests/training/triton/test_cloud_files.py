"""Kubernetes and Fly.io are given what they understand, and what keeps a server that has no passwords to itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.triton.server import Listening

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None


@pytest.fixture
def cloud(repository: Path) -> Path:
    return repository / "docker" / "triton"


def resources(folder: Path) -> list[dict[str, Any]]:
    paths = [path for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in paths for document in yaml.safe_load_all(path.read_text())]


def test_every_resource_is_what_the_api_of_kubernetes_says(cloud: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    found = resources(cloud / "kubernetes" / "cpu")
    for resource in found:
        validate.validate(resource, validate.latest_version(), strict=True)
    assert {resource["kind"] for resource in found} >= {
        "Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget",
    }  # fmt: skip


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_what_kustomize_makes_is_valid_too(cloud: Path, flavour: str, need_program: Callable[[str], str]) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    command = [need_program("kubectl"), "kustomize", str(cloud / "kubernetes" / flavour)]
    made = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for resource in made:
        validate.validate(resource, validate.latest_version(), strict=True)
    kinds = [resource["kind"] for resource in made]
    assert ("HorizontalPodAutoscaler" in kinds) == (flavour == "cpu")
    (deployment,) = (resource for resource in made if resource["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (flavour == "gpu")


def test_pods_have_no_rights_and_no_way_out(cloud: Path) -> None:
    by_kind = {resource["kind"]: resource for resource in resources(cloud / "kubernetes" / "cpu")}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe")} == {"/v2/health/ready"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    policy = by_kind["NetworkPolicy"]["spec"]
    assert policy["egress"] == [] and set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert "--grpc-use-ssl-mutual=true" in container["args"]
    labels = by_kind["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (policy["podSelector"]["matchLabels"], by_kind["Service"]["spec"]["selector"]):
        assert selector.items() <= labels.items()


def test_fly_publishes_no_port_to_the_internet(cloud: Path) -> None:
    if tomllib is None:
        pytest.skip("Python 3.10 has no TOML reader")
    fly = tomllib.loads((cloud / "fly.toml").read_text())
    assert "http_service" not in fly
    (service,) = fly["services"]
    assert service["internal_port"] == Listening().grpc_port
    # Handlers end TLS or HTTP for the public; without one, and without a public address, there is the private network.
    assert all(port["handlers"] == [] for port in service["ports"])
    assert (cloud.parents[1] / fly["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu", "../node/Dockerfile"])
def test_images_do_not_run_as_root(cloud: Path, name: str) -> None:
    instructions = re.findall(r"^([A-Z]+) (.*)$", (cloud / name).read_text(), re.MULTILINE)
    assert [value for key, value in instructions if key == "USER"][-1] == "1000:1000"
    assert {key for key, _ in instructions} >= {"FROM", "COPY", "HEALTHCHECK", "ENTRYPOINT"}


def test_what_the_image_for_processors_copies_is_there_and_is_not_ignored(cloud: Path, repository: Path) -> None:
    text = (cloud / "Dockerfile.cpu").read_text()
    kept = {
        line[1:].split("/")[0]
        for line in (cloud / "Dockerfile.cpu.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    sources = [word for line in re.findall(r"^COPY ([^-].*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert len(sources) > 8
    for source in sources:
        assert (repository / source).exists() and source in kept, source
