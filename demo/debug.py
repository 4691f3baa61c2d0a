"""Make good and bad pulls in mitmweb, to see how they look there.

Everything runs on this machine: localcloud stands for balenaCloud. With ONCE set in
the environment it ends after the pulls.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass

from demo.proxy import Proxy, StartError
from demo.terminal import (
    LOOK_SECONDS,
    add_arguments,
    cache_of,
    chosen_port,
    is_once,
    say,
    until_ended,
)
from localcloud.cloud import LocalCloud
from mitm.story.quantity import describe_size
from pull.client import Client
from pull.fault import Fault
from pull.login import nobody, with_key
from pull.reference import parse_reference

__all__ = ["add_arguments", "run"]

BROWSER = ("--set", "web_open_browser=false")
WEB = re.compile(r"flows are shown at (\S+)")
PAGE = re.compile(r"pulls are shown at (\S+)")
COMMANDS = """
Look at the pulls:    {page}
or at each request:   {flows}

Make more, in another terminal:
  docker pull {host}/balenablocks/browser-aarch64/2.3
  skopeo inspect --tls-verify=false docker://{host}/balenablocks/browser-aarch64/9.9.9
  docker login -u carol -p {cloud.keys[carol]} {host}    (a key of this demo only)
Ctrl-C ends everything."""
WRONG_KEY = "wrongkey".ljust(33, "0")


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull, and what it shows."""

    reference: str
    purpose: str
    user: str | None = None
    """The user of localcloud whose key is sent; for an unknown user, a wrong key."""


PULLS = (
    Pull("balenablocks/browser-aarch64/2.3", "a public block, by a range"),
    Pull("balenablocks/browser-aarch64/9.9.9", "a version that does not exist"),
    Pull("balenablocks/private-block/1.0.0", "a private block without a login"),
    Pull("balenablocks/private-block/1.0.0", "the same with a wrong key", "nobody"),
    Pull("balenablocks/private-block/1.0.0", "the same with a right key", "carol"),
    Pull("balenablocks/multi-app/1.0.0", "a release of several images"),
    Pull("balenablocks/browser-aarch64/2.3", "the first one again, remembered"),
)


def run(options: Namespace, environment: Mapping[str, str]) -> int:
    """Return the exit status."""
    try:
        port, or_any = chosen_port(environment)
        is_short = is_once(options, environment)
        say("starting a small balenaCloud and the registry proxy on this machine")
        with (
            until_ended() as wait,
            LocalCloud() as cloud,
            Proxy(
                cloud.registry_url,
                port=port,
                or_any=or_any,
                environment=cache_of(environment),
                arguments=BROWSER,
                program="mitmweb",
            ) as proxy,
        ):
            say(f"registry proxy: http://{proxy.host}, in front of localcloud\n")
            for pull in PULLS:
                say(f"{pull.reference:<36} {pull.purpose}")
                say(f"  {outcome(proxy.host, pull, cloud)}")
            page, flows = page_url(proxy), web_url(proxy)
            if not is_short:
                say(
                    COMMANDS.format(
                        page=page, flows=flows, host=proxy.host, cloud=cloud
                    )
                )
                while not wait(LOOK_SECONDS):
                    pass  # A signal that another thread gets wakes nobody.
    except StartError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    return 0


def web_url(proxy: Proxy) -> str:
    """Return the address of mitmweb's list, with the token that opens it."""
    return _said(WEB, proxy)


def page_url(proxy: Proxy) -> str:
    """Return the address of the page of pulls, with the token that opens it."""
    return _said(PAGE, proxy)


def _said(where: re.Pattern[str], proxy: Proxy) -> str:
    match = where.search(proxy.log)
    if match is None:
        raise StartError(f"mitmweb does not say where its page is:\n{proxy.log}")
    return match[1]


def outcome(host: str, pull: Pull, cloud: LocalCloud) -> str:
    """Pull, and return in words what came of it."""
    key = cloud.keys.get(pull.user, WRONG_KEY) if pull.user else None
    client = Client(lambda _: None, find_login=with_key(key) if key else nobody)
    try:
        size = client.pull(parse_reference(f"{host}/{pull.reference}"))
    except Fault as fault:
        return str(fault)
    return f"pulled {describe_size(size)}"
