"""Pulls a sample release through the proxy, step by step, then keeps serving.

Everything runs on this machine: localcloud stands for balenaCloud. With ONCE set in
the environment it ends after the pull, with the pull's exit status.
"""

import os
import signal
import socket
import sys
import threading
from types import FrameType

from demo.client import Client, PullError
from demo.proxy import Proxy, StartError, free_port
from localcloud.cloud import LocalCloud

SAMPLE = "balenablocks/browser-aarch64/2.3.8"
PRIVATE = "balenablocks/private-block"
PREFERRED_PORT = 8080


def main() -> int:
    """Return the exit status."""
    end = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        end.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        with LocalCloud() as cloud, Proxy(cloud.registry_url, port=_port()) as proxy:
            _say(f"localcloud: API {cloud.api_url}, registry {cloud.registry_url}")
            _say(f"registry proxy: http://{proxy.host}\n\nPulling {SAMPLE}")
            size = Client(f"http://{proxy.host}", _say).pull(SAMPLE)
            found = [line for line in proxy.log.splitlines() if f"{SAMPLE} is" in line]
            _say(f"   the proxy's log: {found[0].partition('] ')[2]}")
            _say(f"Pulled {size / 1e6:.1f} MB, all digests as they should be.")
            if not os.environ.get("ONCE"):
                _say(_commands(proxy, cloud))
                end.wait()
    except (PullError, StartError) as error:
        sys.stderr.write(f"\nThe pull failed: {error}\n")
        return 1
    except KeyboardInterrupt:
        _say("\nEnded.")
    return 0


def _port() -> int:
    """Return the usual port where it is free, because it is the easiest to type."""
    try:
        socket.create_server(("127.0.0.1", PREFERRED_PORT)).close()
    except OSError:
        return free_port()
    return PREFERRED_PORT


def _commands(proxy: Proxy, cloud: LocalCloud) -> str:
    host, key = proxy.host, cloud.keys["carol"]
    return f"""
Still serving. Try, in another terminal:
  docker pull {host}/{SAMPLE}
  podman pull --tls-verify=false {host}/{SAMPLE}
  skopeo inspect --tls-verify=false docker://{host}/{SAMPLE}
  skopeo inspect --tls-verify=false docker://{host}/balenablocks/browser-aarch64/9.9.9
A private application needs a login; this key exists in this demo only:
  docker login -u carol -p {key} {host}
  docker pull {host}/{PRIVATE}
Ctrl-C ends everything."""


def _say(text: str) -> None:
    """Print a line; one that ends in a carriage return is written over."""
    if text.endswith("\r") and not sys.stdout.isatty():
        return
    sys.stdout.write(text if text.endswith("\r") else f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
