"""The examples of the README and of docs/debugging.md do what is shown."""

import doctest
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import serve
from demo.proxy import Proxy
from tests.client.client import Docker
from tests.integration.registry import Installation
from tests.integration.tool import find_tool, run

README = (serve.ROOT / "README.md").read_text()
DEBUGGING = (serve.ROOT / "docs" / "debugging.md").read_text()
SHOWN_HOST = "localhost:8080"
_BLOCK = re.compile(
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a language, in order."""
    return [m["text"] for m in _BLOCK.finditer(page) if m["language"] == language]


def examples(page: str) -> Iterator[tuple[str, str]]:
    """Yield each command that is shown, with the output that is shown for it."""
    for block in blocks(page, "console"):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = example.partition("\n")
            yield command, output


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
    shown = list(examples(page))
    assert shown
    environment = {
        **docker.environment,
        "API_URL": installation.cloud.api_url,
        "DOCKER_HOST": docker.url,
        "PATH": ":".join(
            [
                *(str(Path(find_tool(name)).parent) for name in ("docker", "curl")),
                os.environ["PATH"],
            ]
        ),
    }
    for command, output in shown:
        script = command.replace(SHOWN_HOST, proxy.host) + expected_end
        printed = run(
            *("sh", "-c", f"cd '{serve.ROOT}'; {script}"), environment=environment
        )
        printed = printed.replace(proxy.host, SHOWN_HOST)
        checker = doctest.OutputChecker()
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        example = doctest.Example(command, output)
        assert checker.check_output(output, printed, flags), checker.output_difference(
            example, printed, flags
        )


def test_shell_examples_parse() -> None:
    """Each other command is one that a shell understands."""
    for block in blocks(README, "sh") + blocks(DEBUGGING, "sh"):
        run("bash", "-n", environment={"PATH": os.environ["PATH"]}, stdin=block)


def test_registry_secrets_have_the_shape_that_is_read() -> None:
    """The example for --registry-secrets is JSON of host, user name and password."""
    (secrets,) = map(json.loads, blocks(README, "json"))
    assert secrets == {SHOWN_HOST: {"username": "me", "password": "<API key>"}}
