"""Loaded by mitmdump: prints options and commands, and what it shows of flows.

The variable FLOWS names their file; without it there are none.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mitmproxy import contentviews, ctx, exceptions, http, optmanager
from mitmproxy.addons.export import formats
from mitmproxy.flow import Flow
from mitmproxy.io import FlowReader

from mitm.view import VIEWS, line, register_views

MARK = "\N{FORM FEED}\n"
"""Between two parts."""


def running() -> None:
    """Print everything, and end."""
    flows = list(_read(os.environ.get("FLOWS", "")))
    shown = (_explanations(flows), _exports(flows), _views(flows))
    parts = (_options(), _commands(), *shown)
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
    for flow in _kinds(flows, "method", "kind", "login"):
        for name in ("curl", "httpie", "raw_request"):
            # The last is mitmproxy's, of a request for a whole URL.
            with suppress(exceptions.CommandError, KeyError):
                yield f"{name} {formats[name](flow)!r}"


def _views(flows: Sequence[Flow]) -> Iterator[str]:
    """Return what is shown of messages, but for the story that is told above."""
    register_views()
    line.WIDTH = 10_000
    for flow in _kinds(flows, "kind", "outcome", "cache"):
        for message in filter(None, (flow.request, flow.response)):
            view = contentviews.prettify_message(message, flow)
            if view.view_name in {each.name for each in VIEWS}:
                before, _, facts = view.text.partition("\nknown\n")
                text = re.sub(r"(?<=\S) {3,}", "  ", facts or before)
                yield f"=== {view.view_name}: {flow.comment}"
                yield re.sub(r"(?s)\nwhat happened\n.*", "", text)


def _kinds(flows: Sequence[Flow], *names: str) -> Iterable[http.HTTPFlow]:
    """Return the first flow of each kind, which these facts make."""
    first: dict[object, http.HTTPFlow] = {}
    for flow in flows:
        if isinstance(flow, http.HTTPFlow):
            facts = {"method": flow.request.method, **flow.metadata.get("balena", {})}
            first.setdefault(tuple(map(facts.get, names)), flow)
    return first.values()
