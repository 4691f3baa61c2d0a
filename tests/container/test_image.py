"""The image: what is in it, and a pull through it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from localcloud import LocalCloud
from mitm.version import VERSION
from registry_proxy import ROOT, command
from registry_proxy.port import free_port
from tests import test_deploy
from tests.client.client import Skopeo
from tests.container.conftest import BASE, IMAGE
from tests.container.engine import Engine, container
from tests.integration.tool import ToolError, listens, wait_until

BILL = "/usr/share/registry-proxy/sbom.cdx.json"
USER = "10001"
COMMIT_LENGTH = 40
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "cargo", "rustc"}


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    """The variables of a proxy in front of a cloud, on a port other than usual."""
    with LocalCloud() as cloud:
        yield {
            "REGISTRY_URL": cloud.registry_url,
            "API_URL": cloud.api_url,
            "LISTEN_HOST": "127.0.0.1",
            "PROXY_PORT": str(free_port()),
        }


RUN = ("run", "--rm", "--network", "none")


def ask(engine: Engine, image: str, program: str) -> str:
    """Return what a Python program prints in the image."""
    return engine.docker(*RUN, "--entrypoint", "python", image, "-c", program).strip()


def test_pull(
    engine: Engine, image: str, variables: dict[str, str], tmp_path: Path
) -> None:
    """A locked-down container gets healthy, lets an image be pulled, and ends well.

    What it recorded can be copied out, as docs/debugging.md says.
    """
    options = ("--volume", "authority:/var/lib/mitmproxy")
    host = f"localhost:{variables['PROXY_PORT']}"
    recording = variables | {"ARGS": "-w /var/lib/mitmproxy/flows"}
    with container(engine, image, options=options, variables=recording) as name:
        wait_until(lambda: engine.health(name) == "healthy", "a healthy container")
        assert Skopeo(tmp_path).pull(f"{host}/balenablocks/browser-aarch64/2.3.8")
        flows = tmp_path / "flows"
        engine.docker("cp", f"{name}:/var/lib/mitmproxy/flows", flows)
        assert (
            command.main(["report", str(flows), "-o", str(tmp_path / "flows.html")])
            == 0
        )
        engine.docker("stop", "--time", "20", name)
        assert "stopped: no request was cut off" in engine.docker("logs", name)
        assert engine.inspect(name)["State"]["ExitCode"] == 0
    folder = Path(engine.inspect("authority")["Mountpoint"])
    key = (folder / "mitmproxy-ca.pem").stat()
    assert (key.st_uid, key.st_mode & 0o777) == (int(USER), 0o600)


def test_health_check_fails_without_an_answer(
    engine: Engine, image: str, variables: dict[str, str]
) -> None:
    """A container whose proxy does not answer is not healthy."""
    options = (
        *("--health-retries", "1", "--health-start-period", "1ms"),
        *("--entrypoint", "python"),
    )
    program = ("-c", "import signal; signal.pause()")
    with container(
        engine, image, *program, options=options, variables=variables
    ) as name:
        wait_until(lambda: engine.health(name) == "unhealthy", "an unhealthy one")


def test_wrong_variable_is_named(engine: Engine, image: str) -> None:
    """It ends with one line that says which variable is wrong, and what is right."""
    with pytest.raises(ToolError) as ended:
        engine.docker(*RUN, "--env", "PROXY_PORT=http", image)
    assert re.fullmatch("registry proxy: PROXY_PORT: .*\n", str(ended.value))


def test_every_command_is_there(engine: Engine, image: str) -> None:
    """Without a command it serves, and what follows the image is one, or --help."""
    shown = engine.docker(*RUN, image, "--help")
    assert shown.startswith("usage: registry-proxy <command>")
    for name, each in command.COMMANDS.items():
        if each.extra:
            assert f"  {name} " not in shown
            with pytest.raises(ToolError, match=f"'{name}' is no command; there are"):
                engine.docker(*RUN, image, name)
        else:
            said = engine.docker(*RUN, image, name, "--help")
            assert said.startswith(f"usage: registry-proxy {name} ")


def test_resolve(engine: Engine, image: str, variables: dict[str, str]) -> None:
    """A name is explained without a proxy that runs."""
    api = ("--env", f"API_URL={variables['API_URL']}")
    reference = "balenablocks/browser-aarch64:2.3"
    words = ("run", "--rm", "--network", "host", *api, image, "resolve", reference)
    assert "because" in engine.docker(*words)


def test_mitmweb_starts(engine: Engine, image: str, variables: dict[str, str]) -> None:
    """The command may be `web`, whose page can be let out of the container."""
    page = free_port()
    web = ("web", "--web-port", str(page), "--", "--web-host", "127.0.0.2")
    with container(engine, image, *web, variables=variables) as name:
        wait_until(lambda: listens(page, "127.0.0.2"), "mitmweb's page")
        assert f"127.0.0.2:{page}/" in engine.docker("logs", name)


def test_bill_of_materials(engine: Engine, image: str, tmp_path: Path) -> None:
    """It is in the image, as `make sbom` writes it, and names what is installed."""
    bill = tmp_path / "sbom.json"
    subprocess.run(
        ["make", "--old-file=install", f"VENV={sys.prefix}", "sbom", f"OUT={bill}"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    program = f"print(open('{BILL}').read())"
    told = json.loads(ask(engine, image, program))
    assert told == json.loads(bill.read_text())
    listed = (
        "import importlib.metadata as m;"
        " print(*{d.name + '==' + d.version for d in m.distributions()})"
    )
    installed = {canonical(name) for name in ask(engine, image, listed).split()}
    named = {canonical(f"{c['name']}=={c['version']}") for c in told["components"]}
    assert installed <= named


def canonical(pin: str) -> str:
    """Return a pin with the package's name as an index has it."""
    name, _, version = pin.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def test_name_has_the_version(engine: Engine, image: str) -> None:
    """What deploy/kubernetes names is what `make image` makes."""
    assert engine.inspect(f"{image}:{VERSION}")["Id"] == engine.inspect(image)["Id"]
    (named,) = test_deploy.KUSTOMIZATION["images"]
    assert f"{named['name']}:{named['newTag']}" == f"{IMAGE}:{VERSION}"
    assert "newName" not in named


def test_user_and_labels(engine: Engine, image: str) -> None:
    """It runs as a number that may not write the code, and says what it is made of."""
    config = engine.inspect(image)["Config"]
    assert config["User"] == f"{USER}:{USER}"
    program = "import os; print(os.getuid(), os.access('/app', os.W_OK))"
    assert ask(engine, image, program) == f"{USER} False"
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert config["Labels"]["org.opencontainers.image.base.name"] == BASE
    revision = config["Labels"]["org.opencontainers.image.revision"]
    assert len(revision) == COMMIT_LENGTH
    created = config["Labels"]["org.opencontainers.image.created"]
    assert datetime.fromisoformat(created).tzinfo


def test_nothing_of_the_build_is_left(engine: Engine, image: str) -> None:
    """No compiler is in it, and nothing that pip kept, or that the tests need."""
    program = (
        "import os; print(*{name for folder, folders, files in os.walk('/')"
        " if not folder.startswith(('/proc/', '/sys/')) for name in folders + files})"
    )
    names = set(ask(engine, image, program).split())
    assert not names & (COMPILERS | {".cache", ".git", "pytest", "localcloud", "demo"})
    assert {"addon.py", "mitm.conf", "mitmdump", "mitmweb"} <= names


def test_bytecode_is_used(engine: Engine, image: str) -> None:
    """Hardly a module is compiled at each start, although nothing can be written."""
    program = ("-v", "-c", "import addon, mitmproxy.tools.dump")
    run = (*RUN, "--entrypoint", "python", image)
    lines = engine.docker(*run, *program).splitlines()
    read = [line for line in lines if line.startswith("# code object from '/bytecode/")]
    compiled = [line for line in lines if line.startswith("# code object from")]
    assert len(read) > 0.95 * len(compiled) > 500
