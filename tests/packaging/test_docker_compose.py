"""The compose file: its parts agree with each other, with the node and with a real archive."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from pydicom import dcmread

from dicom_gateway.phantom_series import write_phantom_series
from dicom_gateway.send import send_folder
from neuroscan_core.config import NodeConfig, load_config
from neuroscan_core.domain.errors import DestinationUnreachable
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.viewer.security.guard import check_exposure
from tests.orthanc import DICOMWEB, running_orthanc
from tests.packaging.dockerfiles import last_stage
from tests.results.conftest import Orthanc

DOCKER = Path(__file__).parents[2] / "docker"
FILES = DOCKER / "compose"
BASE, JETSON, HOST = "compose.yaml", "compose.jetson.yaml", "compose.host.yaml"


class ComposeLoader(yaml.SafeLoader):
    """YAML with compose's tag for what an override takes away."""


ComposeLoader.add_constructor("!reset", lambda loader, node: None)


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((DOCKER / name).read_text(), ComposeLoader)
    return loaded


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(BASE)["services"]
    assert set(found) == {"node", "orthanc", "ohif"}
    return found


@pytest.fixture(scope="module")
def node() -> NodeConfig:
    return load_config(FILES / "neuroscan.yaml")


@pytest.fixture(scope="module")
def archive() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FILES / "orthanc.json").read_text())
    return loaded


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Place in the container -> volume or path."""
    found = {}
    for volume in service["volumes"]:
        source, place = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).removesuffix(":ro").rsplit(":", 1)
        found[place] = source
    return found


@pytest.mark.parametrize("name", [BASE, JETSON, HOST])
def test_docker_compose_takes_the_file(name: str, need_program: Callable[[str], str]) -> None:
    docker = need_program("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, timeout=30, check=False).returncode:
        pytest.skip("docker has no compose plugin")
    files = [DOCKER / BASE] if name == BASE else [DOCKER / BASE, DOCKER / name]
    options = [word for file in files for word in ("-f", str(file))]
    line = [docker, "compose", *options, "config", "--quiet"]
    result = subprocess.run(
        line,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", "RENDER_GID": "104"},
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["node", "orthanc", "ohif"])
def test_services_have_no_more_rights_than_they_need(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "cap_add" not in service
    user = service.get("user") or last_stage(DOCKER.parent / service["build"]["dockerfile"])["USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert any(place.startswith("/tmp") for place in service["tmpfs"])


def test_what_is_named_is_declared(services: dict[str, dict[str, Any]]) -> None:
    top = read(BASE)
    assert {network for service in services.values() for network in service["networks"]} == set(top["networks"])
    volumes = set()
    for service in services.values():
        for source in mounts(service).values():
            if source.startswith("."):
                assert (DOCKER / source).exists(), source
            else:
                volumes.add(source)
    assert volumes == set(top["volumes"])
    for name in (JETSON, HOST):
        assert set(read(name)["services"]) <= set(services)


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", service["image"])


def test_whoever_waits_for_health_waits_for_one_who_reports_it(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in ("service_started", "service_healthy")
            assert how["condition"] == "service_started" or "healthcheck" in services[other]
    assert services["ohif"]["depends_on"]["orthanc"]["condition"] == "service_healthy"


def test_every_variable_has_a_default_or_says_what_to_set() -> None:
    found = [
        variable
        for name in (BASE, JETSON, HOST)
        for variable in re.findall(r"\$\{(\w+)([^}]*)\}", (DOCKER / name).read_text())
    ]
    assert {"ROS_DOMAIN_ID", "RMW_IMPLEMENTATION", "RENDER_GID"} <= {variable for variable, _ in found}
    assert all(rest.startswith((":-", ":?")) for _, rest in found)


def test_the_node_finds_its_files(services: dict[str, dict[str, Any]], node: NodeConfig) -> None:
    places = mounts(services["node"])
    assert places[str(node.state_dir)] == "state"
    assert str(node.segmenter.models_dir) in places
    assert places["/etc/neuroscan/neuroscan.yaml"] == "./compose/neuroscan.yaml"
    assert node.state_dir in (node.segmenter.tensorrt.plan_dir or Path("/")).parents, "plans are kept with the state"


def test_ports_of_the_node_are_published(services: dict[str, dict[str, Any]], node: NodeConfig) -> None:
    dicom, page = services["node"]["ports"]
    assert dicom == f"{node.gateway.port}:{node.gateway.port}"
    assert page == f"127.0.0.1:{node.viewer.port}:{node.viewer.port}"
    assert node.viewer.host == "0.0.0.0", "or nobody outside the container sees the page"
    check_exposure(node.viewer)
    assert node.viewer.auth is not None and node.viewer.auth.token_file is not None
    assert node.state_dir in node.viewer.auth.token_file.parents, "which is writable, and kept"
    assert node.viewer.port == NodeConfig().viewer.port, "which the image asks for its health"


def test_node_and_archive_know_each_other(
    services: dict[str, dict[str, Any]], node: NodeConfig, archive: dict[str, Any]
) -> None:
    [destination] = node.destinations
    assert (destination.host, destination.port) == ("orthanc", archive["DicomPort"])
    assert destination.ae_title == archive["DicomAet"]
    assert destination.storage_commitment
    [modality] = archive["DicomModalities"].values()
    assert (modality["Host"], modality["AET"]) == ("node", node.gateway.ae_title)
    assert (modality["Port"], modality["AllowStorageCommitment"]) == (node.gateway.port, True)
    assert set(services["node"]["networks"]) & set(services["orthanc"]["networks"])


def test_the_archive_is_reached_by_dicom_and_by_its_viewer_alone(
    services: dict[str, dict[str, Any]], archive: dict[str, Any]
) -> None:
    assert services["orthanc"]["ports"] == [f"{archive['DicomPort']}:{archive['DicomPort']}"]
    assert mounts(services["orthanc"])["/var/lib/orthanc"] == "archive"
    assert {archive["StorageDirectory"], archive["IndexDirectory"]} == {"/var/lib/orthanc/db"}
    assert archive["SyncStorageArea"], "commitment would promise too much"
    assert services["orthanc"]["entrypoint"][-1] in mounts(services["orthanc"])
    assert f"127.0.0.1:{archive['HttpPort']}/system" in services["orthanc"]["healthcheck"]["test"][-1]


def test_the_viewer_reads_the_archive_at_its_own_address(
    services: dict[str, dict[str, Any]], archive: dict[str, Any]
) -> None:
    nginx, script = (FILES / "nginx.conf").read_text(), (FILES / "ohif.js").read_text()
    root = archive["DicomWeb"]["Root"]
    [port] = re.findall(r"listen (\d+);", nginx)
    assert services["ohif"]["ports"] == [f"127.0.0.1:3000:{port}"]
    assert f"127.0.0.1:{port}/app-config.js" in services["ohif"]["healthcheck"]["test"][-1]
    [location] = re.findall(rf"location {root} \{{(.*?)\n    \}}", nginx, re.DOTALL)
    assert f"proxy_pass http://orthanc:{archive['HttpPort']};" in location
    assert re.search(r"limit_except GET \{\s*deny all;", location), "the page may read alone"
    assert set(re.findall(r"(?:qidoRoot|wadoRoot|wadoUriRoot): '([^']*)'", script)) == {root.rstrip("/")}
    [alias] = re.findall(r"alias (\S+);", nginx)
    assert mounts(services["ohif"])[alias] == "./compose/ohif.js"
    assert mounts(services["ohif"])["/etc/nginx/nginx.conf"] == "./compose/nginx.conf"
    assert set(services["ohif"]["networks"]) & set(services["orthanc"]["networks"])
    written = re.findall(r"(?:pid|_temp_path) (\S+);", nginx)
    assert len(written) == 6 and all(path.startswith("/tmp/") for path in written)


def test_the_jetson_builds_its_own_image_and_asks_for_its_gpu() -> None:
    service = read(JETSON)["services"]["node"]
    assert (DOCKER.parent / service["build"]["dockerfile"]).name == "jetson.Dockerfile"
    assert service["runtime"] == "nvidia"
    assert "video" in service["group_add"]


def test_on_the_network_of_the_host_names_still_lead_to_the_peers(archive: dict[str, Any]) -> None:
    override = read(HOST)["services"]
    node = override["node"]
    assert node["network_mode"] == "host"
    assert node["networks"] is None and node["ports"] is None, "compose refuses them beside network_mode"
    assert node["extra_hosts"] == ["orthanc:127.0.0.1"]
    assert override["orthanc"]["extra_hosts"] == ["node:host-gateway"]
    assert node["environment"]["CYCLONEDDS_URI"].removeprefix("file://") in mounts(node)
    namespace = "{https://cdds.io/config}"
    general = ElementTree.parse(FILES / "cyclonedds.xml").getroot().find(f"{namespace}Domain/{namespace}General")
    assert general is not None and general.findtext(f"{namespace}AllowMulticast") == "spdp"


@pytest.fixture(scope="module")
def running_archive(archive: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with the configuration of the compose file, but folder, plugin and ports of this machine."""
    plugin = DICOMWEB.with_name(Path(archive["Plugins"][0]).name)
    if not plugin.exists():
        pytest.skip("Orthanc with DICOMweb is not installed (apt-get install orthanc orthanc-dicomweb)")
    settings = {**archive, "Plugins": [str(plugin)], "RemoteAccessAllowed": False}
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), settings) as ports:
        yield Orthanc(*ports)


@pytest.fixture(scope="module")
def images(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_phantom_series(folder, small_phantom, Weighting.FLAIR)
    return folder


def test_a_real_archive_with_this_configuration_shows_what_it_was_sent(
    running_archive: Orthanc, archive: dict[str, Any], images: Path
) -> None:
    report = send_folder(images, "127.0.0.1", running_archive.dicom_port, ae_title=archive["DicomAet"])
    paths = [path for path in images.rglob("*") if path.is_file()]
    assert (report.num_sent, list(report.failures)) == (len(paths), [])
    [series] = json.loads(running_archive.get(archive["DicomWeb"]["Root"] + "series"))
    assert series["0020000E"]["Value"] == [str(dcmread(paths[0]).SeriesInstanceUID)]
    assert series["00201209"]["Value"] == [len(paths)], "NumberOfSeriesRelatedInstances"


def test_a_real_archive_with_this_configuration_answers_to_its_own_name_alone(
    running_archive: Orthanc, images: Path
) -> None:
    with pytest.raises(DestinationUnreachable):
        send_folder(images, "127.0.0.1", running_archive.dicom_port, ae_title="PACS")
