"""The Kubernetes manifests: sound by the published schemas, and fit for the code."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import requests
from ruamel.yaml import YAML

from demo.proxy import Proxy
from localcloud.cloud import LocalCloud
from mitm import option
from mitm.guard.reader import REQUEST_LENGTH_MAX
from mitm.parser import parse_size
from mitm.version import VERSION
from registry_proxy import ROOT
from registry_proxy.port import free_port
from resolver.grammar.endpoint import PING_PATH, READY_PATH
from tests.integration.tool import find_tool, run

NGINX = (ROOT / "deploy" / "nginx" / "server.conf").read_text()
HAPROXY = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()
FOLDER = ROOT / "deploy" / "kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OLDEST = "1.30"
"""Of Kubernetes, as kustomization.yaml says."""
TLS, CACHE = PATCHES = "tls-patch.yaml", "cache-patch.yaml"
"""What is a comment in kustomization.yaml."""
CLAIM_SHARE_MAX = 0.9
"""How much of a claim blobs may take; a file system has the rest."""
KUBERNETES_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def load(text: str) -> Iterator[Any]:
    """Return the documents in YAML; a key that stands there twice is an error."""
    yield from YAML(typ="safe", pure=True).load_all(text)


(KUSTOMIZATION,) = load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: Mapping[str, Any] = {
    document["kind"]: document
    for name in KUSTOMIZATION["resources"]
    for document in load((FOLDER / name).read_text())
}
POD = OBJECTS["Deployment"]["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
PROBES = {
    name: probe["httpGet"]["path"]
    for name, probe in CONTAINER.items()
    if name.endswith("Probe")
}
VARIABLES = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}


def render(folder: Path) -> dict[str, Any]:
    """Return what `kubectl apply -k` would apply, by kind."""
    shown = run(find_tool("kubectl"), "kustomize", folder, environment=os.environ)
    return {document["kind"]: document for document in load(shown)}


def validate(objects: Mapping[str, Any]) -> None:
    """Fail where a field is missing, or is none that Kubernetes knows."""
    for version in (OLDEST, kubernetes_validate.latest_version()):
        for document in objects.values():
            kubernetes_validate.validate(document, version, strict=True)


def patched(folder: Path, *patches: str) -> Path:
    """Return a copy of the manifests in which these patches are no comments."""
    copy = shutil.copytree(FOLDER, folder / "kubernetes")
    file = copy / "kustomization.yaml"
    text = file.read_text()
    for line in ("patches:", *(f"  - path: {name}" for name in patches)):
        text, count = re.subn(f"^# {line}$", line, text, flags=re.MULTILINE)
        assert count == 1
    file.write_text(text)
    return copy


def pod_of(rendered: Mapping[str, Any]) -> tuple[Any, Any, dict[str, str]]:
    """Return the pod's specification, its container, and that one's variables."""
    pod = rendered["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert {*VARIABLES} < {*variables}
    return pod, container, variables


def test_folder_is_applied_as_it_stands() -> None:
    """It has one object in each file, sound by the schemas, and the image's name."""
    rendered = render(FOLDER)
    validate(rendered)
    (image,) = KUSTOMIZATION["images"]
    (container,) = rendered["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert CONTAINER["image"] == image["name"]
    assert container["image"] == f"{image['name']}:{VERSION}"
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {*KUSTOMIZATION["resources"], *PATCHES, "kustomization.yaml"}
    files = {f"{kind.lower()}.yaml" for kind in rendered}
    assert files == set(KUSTOMIZATION["resources"])


def test_proxy_ends_tls_where_that_is_uncommented(tmp_path: Path) -> None:
    """What is a comment in kustomization.yaml has the proxy end TLS with a Secret."""
    folder = patched(tmp_path, TLS)
    file = folder / "kustomization.yaml"
    file.write_text(file.read_text().replace("  - ingress.yaml\n", ""))
    rendered = render(folder)
    assert set(rendered) == {*OBJECTS} - {"Ingress"}
    validate(rendered)
    pod, container, variables = pod_of(rendered)
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (mode,) = (v["secret"]["defaultMode"] for v in pod["volumes"] if "secret" in v)
    assert mode == 0o440
    # The names that every Secret of the type kubernetes.io/tls has.
    assert variables["TLS_CERT"] == f"{mounts['tls']}/tls.crt"
    assert variables["TLS_KEY"] == f"{mounts['tls']}/tls.key"
    (port,) = rendered["Service"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "http")


def test_blobs_are_kept_where_that_is_uncommented(tmp_path: Path) -> None:
    """Each replica has a claim of its own, with room for more than it may keep.

    The container may write there and nowhere else, as before.
    """
    rendered = render(patched(tmp_path, *PATCHES))
    assert set(rendered) == {*OBJECTS}
    validate(rendered)
    pod, container, variables = pod_of(rendered)
    (name,) = (
        mount["name"]
        for mount in container["volumeMounts"]
        if mount["mountPath"] == variables["CACHE"]
    )
    (claim,) = (
        volume["ephemeral"]["volumeClaimTemplate"]["spec"]
        for volume in pod["volumes"]
        if volume["name"] == name
    )
    size = re.fullmatch(r"(\d+)([MGT]i)", claim["resources"]["requests"]["storage"])
    assert size
    room = int(size[1]) * KUBERNETES_UNITS[size[2]]
    assert parse_size(variables["CACHE_SIZE"]) <= CLAIM_SHARE_MAX * room
    assert claim["accessModes"] == ["ReadWriteOnce"]
    assert container["securityContext"] == CONTAINER["securityContext"]
    assert pod["securityContext"] == POD["spec"]["securityContext"]
    assert f" {variables['CACHE']} " in DOCKERFILE


@pytest.mark.server
def test_replica_passes_its_probes_and_is_scraped() -> None:
    """With these variables the proxy answers all probes, and Prometheus."""
    metrics_port = free_port()
    assert {*VARIABLES} <= {*option.VARIABLES}
    with LocalCloud() as cloud:
        environment = VARIABLES | {
            "API_URL": cloud.api_url,
            "METRICS_PORT": str(metrics_port),
        }
        path = POD["metadata"]["annotations"]["prometheus.io/path"]
        with (
            Proxy(cloud.registry_url, environment=environment) as proxy,
            requests.Session() as session,
        ):
            session.trust_env = False
            for port, asked in (
                *((proxy.port, probed) for probed in PROBES.values()),
                (metrics_port, path),
            ):
                answer = session.get(f"http://127.0.0.1:{port}{asked}", timeout=10)
                assert answer.status_code == 200
        assert "balena_proxy_build_info" in answer.text


def test_probes_wait_for_registry_and_api_at_the_start_only() -> None:
    """Where registry or API fail, running replicas stay, and say so to clients."""
    assert PROBES == {
        "startupProbe": READY_PATH,
        "readinessProbe": PING_PATH,
        "livenessProbe": PING_PATH,
    }


def test_transfers_have_their_time_to_finish() -> None:
    """A replica is killed only after it has waited, and after its grace period."""
    pause = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    given = POD["spec"]["terminationGracePeriodSeconds"]
    assert given >= pause + int(VARIABLES["GRACE_PERIOD"]) + 5


def test_ports_agree() -> None:
    """Service, Ingress, network policy and annotations name ports that there are."""
    assert PORTS["http"] == int(VARIABLES.get("PROXY_PORT", "8080"))
    assert PORTS["metrics"] == int(VARIABLES["METRICS_PORT"])
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == VARIABLES["METRICS_PORT"]
    assert {CONTAINER[probe]["httpGet"]["port"] for probe in PROBES} <= {*PORTS}
    (served,) = OBJECTS["Service"]["spec"]["ports"]
    assert served["targetPort"] == "http"
    (rule,) = OBJECTS["Ingress"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == OBJECTS["Service"]["metadata"]["name"]
    assert backend["port"]["name"] == served["name"]
    opened = OBJECTS["NetworkPolicy"]["spec"]["ingress"]
    assert {port["port"] for entry in opened for port in entry["ports"]} == {*PORTS}


def test_selectors_find_the_replicas() -> None:
    """Everything that selects pods selects those of the Deployment."""
    labels = POD["metadata"]["labels"].items()
    deployment = OBJECTS["Deployment"]
    spread = POD["spec"]["topologySpreadConstraints"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    scaled = OBJECTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert scaled["kind"] == "Deployment"
    assert scaled["name"] == deployment["metadata"]["name"]


def test_clients_are_told_the_host_of_the_ingress() -> None:
    """The realm of challenges is on the host that the Ingress has a certificate for."""
    (rule,) = OBJECTS["Ingress"]["spec"]["rules"]
    (tls,) = OBJECTS["Ingress"]["spec"]["tls"]
    assert VARIABLES["PUBLIC_URL"] == f"https://{rule['host']}"
    assert tls["hosts"] == [rule["host"]]


def test_there_is_always_a_replica() -> None:
    """Neither a rollout nor a drained node takes away the last one."""
    assert OBJECTS["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > 1
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    rollout = OBJECTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rollout["maxUnavailable"] == 0


def test_container_may_do_nothing_that_it_need_not() -> None:
    """The pod is one of the pod security standard "restricted", and more."""
    assert POD["spec"]["securityContext"]["runAsNonRoot"]
    assert POD["spec"]["securityContext"]["seccompProfile"] == {
        "type": "RuntimeDefault"
    }
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["spec"]["automountServiceAccountToken"] is False


def test_image_and_pod_are_at_one() -> None:
    """The pod runs as the image's user, who can write where the image has to."""
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)[-1]
    context = POD["spec"]["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user
    assert str(context["fsGroup"]) == user[1]
    confdir = re.findall(r"\bCONFDIR=(\S+)", DOCKERFILE)[-1]
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert {*mounts} == {confdir, "/tmp"}
    volumes = {volume["name"] for volume in POD["spec"]["volumes"]}
    assert {*mounts.values()} == volumes


def setting(text: str, name: str) -> list[str]:
    """Return the words that follow a name in a configuration."""
    found = re.search(rf"^ *{re.escape(name)} +([^;\n]*)", text, re.MULTILINE)
    assert found
    return found[1].split()


def test_who_stands_in_front_takes_no_longer_heads() -> None:
    """What passes nginx or HAProxy, with what they add, the proxy takes too (T8)."""
    count, length = setting(NGINX, "large_client_header_buffers")
    line = int(length.removesuffix("k")) << 10
    # The first line may lie in a buffer of 1 kB, and the host is sent twice.
    assert (int(count) + 1) * line + 2048 < REQUEST_LENGTH_MAX
    (size,) = setting(HAPROXY, "tune.bufsize")
    assert 2 * int(size) <= REQUEST_LENGTH_MAX
