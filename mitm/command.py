"""The commands at the prompt of mitmproxy and mitmweb, some of them by a key."""

import asyncio
import logging
import os
import re
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mitmproxy import command, ctx, exceptions, flow, http
from mitmproxy.log import ALERT

from mitm.endpoint import Endpoints
from mitm.story.explain import explain
from mitm.story.kind import Kind
from mitm.story.record import SEPARATOR, Record
from resolver import errors
from resolver.grammar import credential
from resolver.token.cache import Entry

logger = logging.getLogger("balena")

WIDTH = 100
"""Columns in which the console shows what a command says."""
TERMINAL_SECONDS = 5
"""How often it is looked whether the console still has a terminal."""
_SPECIAL = re.compile(r"[^\w/-]")
HIGHLIGHT = "#/flows?h=~marked"
"""Has mitmweb highlight refused and failed flows."""
KEYS = {
    "y": ("balena.explain @focus", ("flowlist", "flowview"), "Why? Explain this flow"),
    "t": ("balena.flows.like @focus", ("flowlist",), "This pull only"),
    "T": ("balena.flows", ("flowlist",), "All pulls again"),
    "c": ("balena.cache", ("flowlist",), "What is remembered"),
}
"""Keys of the console that mitmproxy leaves free: command, contexts, help."""


class Commands:
    """The commands; an addon of mitmproxy beside the proxy itself."""

    def __init__(
        self, endpoints: Callable[[], Endpoints], find_pull: Callable[[str], str]
    ) -> None:
        self._endpoints = endpoints
        self._find_pull = find_pull
        self._running: set[asyncio.Task[None]] = set()

    def bind_keys(self) -> None:
        """Bind the keys of a console, and say where the page of mitmweb is."""
        if url := getattr(ctx.master, "web_url", None):
            _say(f"flows are shown at {url}{HIGHLIGHT}")
        if "console.key.bind" in ctx.master.commands.commands:
            for key, (bound, contexts, help_text) in KEYS.items():
                ctx.master.keymap.add(key, bound, list(contexts), help_text)  # type: ignore[attr-defined]
            if sys.stdin.isatty():
                threading.Thread(target=_end_with_terminal, daemon=True).start()

    @command.command("balena.resolve")  # type: ignore[untyped-decorator]
    def resolve(self, reference: str) -> None:
        """Show what a reference stands for, with the API key in BALENA_API_KEY."""
        self._keep(asyncio.create_task(_show(self._endpoints(), reference)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @command.command("balena.explain")  # type: ignore[untyped-decorator]
    def explain(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Tell what happened, and what the client will do next."""
        lines: list[str] = []
        for each in flows:
            if isinstance(each, http.HTTPFlow):
                lines.append(each.comment or each.request.path)
                for sentence in explain(each):
                    lines += textwrap.wrap(sentence, WIDTH, break_on_hyphens=False)
                with suppress(exceptions.CommandError):
                    lines.append(f"pull  {self._find_pull(each.id)}")
        if not lines:
            raise exceptions.CommandError("no flow is given: try @focus, or @marked")
        _say("\n".join(lines))
        return lines

    @command.command("balena.pull")  # type: ignore[untyped-decorator]
    def pull(self, of_pull: flow.Flow) -> str:
        """Tell where the pull of a flow is on the page of pulls."""
        url = self._find_pull(of_pull.id)
        _say(url)
        return url

    @command.command("balena.flows")  # type: ignore[untyped-decorator]
    def flows(self, alias: str = "") -> None:
        """Show only the flows of aliases that begin so, and pings; none shows all."""
        self._filter(filter_for(alias) if alias else None, alias)

    def _filter(self, wanted: str | None, alias: str) -> None:
        if "view_filter" not in ctx.options:
            raise exceptions.CommandError(
                "mitmdump shows no flows: start mitmweb or mitmproxy, with make web or"
                " make console"
            )
        ctx.options.view_filter = wanted
        _say(f"shown are the flows of {alias}" if alias else "all flows are shown")

    @command.command("balena.flows.like")  # type: ignore[untyped-decorator]
    def flows_like(self, like: flow.Flow) -> None:
        """Show only the flows of pulls by the same name, and pings."""
        record = Record.read(like)
        if record is None or not record.names:
            raise exceptions.CommandError("this flow is about no alias")
        aliases = SEPARATOR.join(record.names)
        self._filter(filter_for(*record.names, is_whole=True), aliases)

    @command.command("balena.cache")  # type: ignore[untyped-decorator]
    def cache(self) -> Sequence[str]:
        """Show what is remembered, for whom, and for how long."""
        entries = self._endpoints().naming.cache.entries()
        lines = [_describe(entry) for entry in entries] or ["nothing is remembered"]
        _say("\n".join(lines))
        return lines

    @command.command("balena.cache.clear")  # type: ignore[untyped-decorator]
    def clear_cache(self, alias: str = "") -> str:
        """Forget what is remembered of aliases that begin so, or everything."""
        count = self._endpoints().naming.cache.forget(alias)
        what = f"of {alias}" if alias else "of every alias"
        text = f"{count} {'entry' if count == 1 else 'entries'} {what} forgotten"
        _say(text)
        return text


def _end_with_terminal() -> None:
    """End where the terminal is gone, which the console's own loop reads from for ever.

    A shell tells its programs by SIGHUP; make, where it is started in place of a shell,
    keeps that to itself.
    """
    while os.isatty(sys.stdin.fileno()):
        time.sleep(TERMINAL_SECONDS)
    os.kill(os.getpid(), signal.SIGHUP)


def filter_for(*aliases: str, is_whole: bool = False) -> str:
    """Return the filter for the flows of aliases that begin so, and for pings.

    A ping is about no alias, and a pull begins with it. To a filter, a record is the
    text of its dictionary, in an order that is another one where it was saved.

    Args:
        aliases: their beginnings.
        is_whole: whether these are all of them.

    """
    # The backslash of a regular expression is one of a filter's string as well.
    begins = "|".join(_SPECIAL.sub(r"\\\\\g<0>", alias) for alias in aliases)
    end = "(,|')" if is_whole else ""
    alias = f"'alias': '([^']*, )?({begins}){end}"
    return f"""~meta "{alias}" | ~meta "'kind': '{Kind.BASE}'\""""


def _describe(entry: Entry) -> str:
    seconds = f"{entry.seconds:.0f} s" if entry.seconds > 0 else "if the API fails"
    outcome = entry.outcome
    found = f"refused, {outcome}" if isinstance(outcome, errors.Refusal) else outcome
    return f"{entry.alias} for {entry.asker}: {found}, {seconds}"


async def _show(endpoints: Endpoints, text: str) -> None:
    try:
        asker = credential.credential_of_environment(os.environ)
        _say(await endpoints.naming.describe(text, asker))
    except errors.RegistryError as error:
        _say(error.in_log)


def _say(text: str) -> None:
    """Show it in the log; the one of mitmweb's page leaves alerts out."""
    is_web = hasattr(ctx.master, "web_url")
    logger.log(logging.INFO if is_web else ALERT, "%s", text)
