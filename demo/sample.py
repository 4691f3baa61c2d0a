"""Pull a sample release, step by step; then the proxy goes on.

Everything runs on this machine: localcloud stands for balenaCloud. With ONCE set in
the environment it ends after the pull, with the pull's exit status.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping

from demo.proxy import Proxy, StartError
from demo.terminal import (
    LOOK_SECONDS,
    add_arguments,
    cache_of,
    chosen_port,
    is_once,
    say,
    show,
    until_ended,
)
from localcloud.cloud import LocalCloud
from pull.client import Client
from pull.fault import Fault
from pull.reference import parse_reference

__all__ = ["add_arguments", "run"]

SAMPLE = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block"


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
            ) as proxy,
        ):
            say(f"localcloud: API {cloud.api_url}, registry {cloud.registry_url}")
            say(f"registry proxy: http://{proxy.host}\n\nPulling {SAMPLE}")
            client = Client(say, has_bars=sys.stdout.isatty())
            size = client.pull(parse_reference(f"{proxy.host}/{SAMPLE}"))
            lines = proxy.log.splitlines()
            line = next(line for line in lines if f"{SAMPLE} is" in line)
            say(f"   the proxy's log: {line[line.index('GET ') :]}")
            say(f"Pulled {size / 1e6:.1f} MB, all digests as they should be.")
            if not is_short:
                say(_commands(proxy, cloud))
                proxy.news()
                while not wait(LOOK_SECONDS):
                    show(proxy.news())
    except (Fault, StartError) as error:
        sys.stderr.write(f"\nThe pull failed: {error}\n")
        return 1
    return 0


def _commands(proxy: Proxy, cloud: LocalCloud) -> str:
    host, key = proxy.host, cloud.keys["carol"]
    return f"""
Still serving. Try, in another terminal:
  docker pull {host}/{SAMPLE}
  docker pull {host}/balenablocks/browser-aarch64:2.3.6
  podman pull --tls-verify=false {host}/{SAMPLE}
  skopeo inspect --tls-verify=false docker://{host}/{SAMPLE}
  skopeo inspect --tls-verify=false docker://{host}/balenablocks/browser-aarch64/9.9.9
A private application needs a login; this key exists in this demo only:
  docker login -u carol -p {key} {host}
  docker pull {host}/{PRIVATE}
What they ask for is in the proxy's log, which follows.
Ctrl-C ends everything."""
