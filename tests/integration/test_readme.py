"""The console examples of the documentation print what is shown."""

import doctest
import os
import re
from pathlib import Path

import pytest

from demo.proxy import Proxy
from registry_proxy import ROOT
from tests.client.client import Docker
from tests.documentation import PAGES, blocks
from tests.integration.registry import Installation
from tests.integration.tool import find_tool, run

SHOWN_HOST = "localhost:8080"
ENDS = {"docs/debugging.md": " && exit 1; true"}
"""That page is about pulls that fail."""
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize(
    "path", [path for path, page in PAGES.items() if blocks(page, "console")]
)
def test_commands_print_what_is_shown(
    installation: Installation, proxy: Proxy, docker: Docker, path: str
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
    shown = "\n".join(blocks(PAGES[path], "console"))
    examples = re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]
    assert examples
    for text in examples:
        command, _, output = text.partition("\n")
        script = command.replace(SHOWN_HOST, proxy.host) + ENDS.get(path, "")
        shell = ("sh", "-c", f"cd '{ROOT}'; {script}")
        printed = run(*shell, environment=environment).replace(proxy.host, SHOWN_HOST)
        checker, example = doctest.OutputChecker(), doctest.Example(command, output)
        difference = checker.output_difference(example, printed, _FLAGS)
        assert checker.check_output(output, printed, _FLAGS), difference
