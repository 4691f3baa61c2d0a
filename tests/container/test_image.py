"""The image: what is in it, and a pull through it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud import LocalCloud
from mitm.version import VERSION
from registry_proxy import command
from registry_proxy.port import free_port
from tests.client.client import Skopeo
from tests.container.conftest import BASE
from tests.container.engine import Engine, container
from tests.integration.tool import ToolError, listens, wait_until

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
    return engine.docker(*RUN, image, "python", "-c", program).strip()


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
    options = ("--health-retries", "1", "--health-start-period", "1ms")
    command = ("python", "-c", "import signal; signal.pause()")
    with container(
        engine, image, *command, options=options, variables=variables
    ) as name:
        wait_until(lambda: engine.health(name) == "unhealthy", "an unhealthy one")


def test_wrong_variable_is_named(engine: Engine, image: str) -> None:
    """It ends with one line that says which variable is wrong, and what is right."""
    with pytest.raises(ToolError) as ended:
        engine.docker(*RUN, "--env", "PROXY_PORT=http", image)
    assert re.fullmatch("registry proxy: PROXY_PORT: .*\n", str(ended.value))


def test_mitmweb_starts(engine: Engine, image: str, variables: dict[str, str]) -> None:
    """The command may be mitmweb, which finds the options of mitm.conf."""
    page = free_port()
    command = (
        *("mitmweb", "-s", "addon.py", "--set", "confdir=/var/lib/mitmproxy"),
        *("--mode", f"reverse:{variables['REGISTRY_URL']}@127.0.0.1:{free_port()}"),
        *("--no-web-open-browser", "--web-port", str(page)),
    )
    with container(engine, image, *command, variables={}) as name:
        wait_until(lambda: listens(page), "mitmweb's page")
        assert f":{page}/" in engine.docker("logs", name)


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


def test_nothing_of_the_build_is_left(engine: Engine, image: str) -> None:
    """No compiler is in it, and nothing that pip kept, or that the tests need."""
    program = (
        "import os; print(*{name for folder, folders, files in os.walk('/')"
        " if not folder.startswith(('/proc/', '/sys/')) for name in folders + files})"
    )
    names = set(ask(engine, image, program).split())
    assert not names & (COMPILERS | {".cache", ".git", "pytest", "localcloud"})
    assert {"addon.py", "mitm.conf", "mitmdump", "mitmweb"} <= names


def test_bytecode_is_used(engine: Engine, image: str) -> None:
    """Hardly a module is compiled at each start, although nothing can be written."""
    program = ("python", "-v", "-c", "import addon, mitmproxy.tools.dump")
    lines = engine.docker(*RUN, image, *program).splitlines()
    read = [line for line in lines if line.startswith("# code object from '/bytecode/")]
    compiled = [line for line in lines if line.startswith("# code object from")]
    assert len(read) > 0.95 * len(compiled) > 500
