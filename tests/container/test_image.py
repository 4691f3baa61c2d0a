"""The image: what is in it, and a pull through it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud import LocalCloud
from mitm.version import VERSION
from report import __main__ as report
from serve import free_port
from tests.client.client import Skopeo
from tests.container.engine import Container, Engine
from tests.integration.tool import ToolError, listens, wait_until

USER = "10001"
COMMIT_LENGTH = 40
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "cargo", "rustc"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """A cloud on loopback."""
    with LocalCloud() as running:
        yield running


@pytest.fixture(scope="module")
def variables(cloud: LocalCloud) -> dict[str, str]:
    """The variables of a proxy in front of it, on a port other than usual."""
    return {
        "REGISTRY_URL": cloud.registry_url,
        "API_URL": cloud.api_url,
        "LISTEN_HOST": "127.0.0.1",
        "PROXY_PORT": str(free_port()),
    }


def ask(engine: Engine, image: str, program: str) -> str:
    """Return what a Python program prints in the image."""
    run = ("run", "--rm", "--network", "none", image, "python", "-c", program)
    return engine.docker(*run).strip()


def test_pull(
    engine: Engine,
    image: str,
    cloud: LocalCloud,
    variables: dict[str, str],
    tmp_path: Path,
) -> None:
    """A locked-down container gets healthy, lets an image be pulled, and ends well.

    What it recorded can be copied out, as docs/debugging.md says.
    """
    options = ("--volume", "authority:/var/lib/mitmproxy")
    host = f"localhost:{variables['PROXY_PORT']}"
    recording = variables | {"ARGS": "-w /var/lib/mitmproxy/flows"}
    with Container(engine, image, options=options, variables=recording) as container:
        container.wait_until_healthy()
        pulled = Skopeo(tmp_path).pull(f"{host}/balenablocks/browser-aarch64/2.3.8")
        assert pulled in {image.digest for image in cloud.images}
        flows = tmp_path / "flows"
        engine.docker("cp", f"{container.id}:/var/lib/mitmproxy/flows", flows)
        assert report.main([str(flows), "-o", str(tmp_path / "flows.html")]) == 0
        container.stop()
        assert "stopped: no request was cut off" in container.log
        assert container.state["ExitCode"] == 0
    folder = Path(engine.inspect("authority")["Mountpoint"])
    key = (folder / "mitmproxy-ca.pem").stat()
    assert (key.st_uid, key.st_mode & 0o777) == (int(USER), 0o600)


def test_health_check_fails_without_an_answer(
    engine: Engine, image: str, variables: dict[str, str]
) -> None:
    """A container whose proxy does not answer is not healthy."""
    options = ("--health-retries", "1", "--health-start-period", "1ms")
    command = ("python", "-c", "import signal; signal.pause()")
    with Container(
        engine, image, *command, options=options, variables=variables
    ) as container:
        wait_until(
            lambda: container.state["Health"]["Status"] == "unhealthy", "unhealthy"
        )


def test_wrong_variable_is_named(engine: Engine, image: str) -> None:
    """It ends with one line that says which variable is wrong, and what is right."""
    run = ("run", "--rm", "--network", "none", "--env", "PROXY_PORT=http", image)
    with pytest.raises(ToolError) as ended:
        engine.docker(*run)
    message = "registry proxy: PROXY_PORT: 'http' is no port; write a number from 1 to"
    assert str(ended.value).startswith(message)
    assert str(ended.value).count("\n") == 1


def test_mitmweb_starts(engine: Engine, image: str, variables: dict[str, str]) -> None:
    """The command may be mitmweb, which finds the options of mitm.conf."""
    page = free_port()
    command = (
        *("mitmweb", "-s", "addon.py", "--set", "confdir=/var/lib/mitmproxy"),
        *("--mode", f"reverse:{variables['REGISTRY_URL']}@127.0.0.1:{free_port()}"),
        *("--no-web-open-browser", "--web-port", str(page)),
    )
    with Container(engine, image, *command, variables={}) as container:
        wait_until(
            lambda: not container.state["Running"] or listens(page), "mitmweb's page"
        )
        assert f":{page}/" in container.log


def test_user_is_not_root(engine: Engine, image: str) -> None:
    """It runs as a number that is not root's, and may not write where the code is."""
    assert engine.inspect(image)["Config"]["User"] == f"{USER}:{USER}"
    program = "import os; print(os.getuid(), os.access('/app', os.W_OK))"
    assert ask(engine, image, program) == f"{USER} False"


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
    run = ("run", "--rm", "--network", "none", image, "python", "-v", "-c")
    lines = engine.docker(*run, "import addon, mitmproxy.tools.dump").splitlines()
    read = [line for line in lines if line.startswith("# code object from '/bytecode/")]
    compiled = [line for line in lines if line.startswith("# code object from")]
    assert len(read) > 0.95 * len(compiled) > 500


def test_labels(engine: Engine, image: str) -> None:
    """Its labels say what it is, which version, and from which commit."""
    labels = engine.inspect(image)["Config"]["Labels"]
    prefix = "org.opencontainers.image"
    assert labels[f"{prefix}.title"] == "balena registry proxy"
    assert labels[f"{prefix}.licenses"] == "Apache-2.0"
    assert labels[f"{prefix}.version"] == VERSION
    assert len(labels[f"{prefix}.revision"]) == COMMIT_LENGTH
