"""Loaded by mitmdump: prints options, commands, explanations and exports of flows.

The variable FLOWS names their file; without it there are none.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mitmproxy import ctx, exceptions, optmanager
from mitmproxy.addons.export import formats
from mitmproxy.flow import Flow
from mitmproxy.io import FlowReader

MARK = "\N{FORM FEED}\n"
"""Between two parts."""


def running() -> None:
    """Print everything, and end."""
    flows = list(_read(os.environ.get("FLOWS", "")))
    parts = (_options(), _commands(), _explanations(flows), _exports(flows))
    sys.stdout.write(MARK.join("".join(f"{line}\n" for line in part) for part in parts))
    sys.stdout.flush()
    ctx.master.shutdown()


def _read(path: str) -> Iterator[Flow]:
    if path:
        with Path(path).open("rb") as file:
            yield from FlowReader(file).stream()


def _options() -> Iterator[str]:
    names = sorted(name for name, _ in ctx.options.items() if name.startswith("balena"))
    for name, option in optmanager.dump_dicts(ctx.options, names).items():
        yield f"{name} {option['type']} {option['default']!r} {option['choices']}"
        yield f"    {option['help']}"


def _commands() -> Iterator[str]:
    for name, command in sorted(ctx.master.commands.commands.items()):
        if name.startswith("balena."):
            yield command.signature_help()
            yield f"    {' '.join(str(command.help).split())}"


def _explanations(flows: Iterable[Flow]) -> Iterator[str]:
    for flow in flows:
        comment, *lines = ctx.master.commands.call("balena.explain", [flow])
        yield comment
        # Where lines are broken depends on how long something took.
        yield re.sub(r"(?m)^|(?<=\.) (?=[A-Z])", "\n    ", " ".join(lines)).strip("\n")


def _exports(flows: Sequence[Flow]) -> Iterator[str]:
    for flow in flows:
        for kind in ("curl", "httpie", "raw_request"):
            # The last is mitmproxy's, of a request for a whole URL.
            with suppress(exceptions.CommandError, KeyError):
                yield f"{kind} {formats[kind](flow)!r}"
