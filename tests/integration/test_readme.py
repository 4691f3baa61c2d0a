"""The examples of the README and of docs/debugging.md do what is shown."""

import doctest
import json
import os
import re
from pathlib import Path

import pytest

from demo.proxy import Proxy
from registry_proxy import ROOT
from tests.client.client import Docker
from tests.integration.registry import Installation
from tests.integration.tool import find_tool, run

README = (ROOT / "README.md").read_text()
DEBUGGING = (ROOT / "docs" / "debugging.md").read_text()
SHOWN_HOST = "localhost:8080"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return [text for found, text in _BLOCK.findall(page) if found == language]


@pytest.mark.parametrize(
    ("page", "expected_end"),
    [
        pytest.param(README, "", id="README.md"),
        # That page is about pulls that fail.
        pytest.param(DEBUGGING, " && exit 1; true", id="docs/debugging.md"),
    ],
)
def test_commands_print_what_is_shown(
    installation: Installation,
    proxy: Proxy,
    docker: Docker,
    page: str,
    expected_end: str,
) -> None:
    """Each console example ends as it should, and prints what the page says."""
    find_tool("skopeo")
    folders = {str(Path(find_tool(name)).parent) for name in ("docker", "curl")}
    environment = {
        **docker.environment,
        "API_URL": installation.cloud.api_url,
        "DOCKER_HOST": docker.url,
        "PATH": ":".join([*folders, os.environ["PATH"]]),
    }
    shown = "\n".join(blocks(page, "console"))
    examples = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    assert examples
    for text in examples:
        command, _, output = text.partition("\n")
        script = command.replace(SHOWN_HOST, proxy.host) + expected_end
        shell = ("sh", "-c", f"cd '{ROOT}'; {script}")
        printed = run(*shell, environment=environment).replace(proxy.host, SHOWN_HOST)
        checker, example = doctest.OutputChecker(), doctest.Example(command, output)
        difference = checker.output_difference(example, printed, _FLAGS)
        assert checker.check_output(output, printed, _FLAGS), difference


def test_shell_examples_parse() -> None:
    """Each other command is one that a shell understands."""
    for block in blocks(README, "sh") + blocks(DEBUGGING, "sh"):
        run("bash", "-n", environment={"PATH": os.environ["PATH"]}, stdin=block)


def test_registry_secrets_have_the_shape_that_is_read() -> None:
    """The example for --registry-secrets is JSON of host, user name and password."""
    (secrets,) = map(json.loads, blocks(README, "json"))
    assert secrets == {SHOWN_HOST: {"username": "me", "password": "<API key>"}}
