"""``python -m localcloud``: serve the sample applications until told to end."""

import argparse
import signal
import sys
import threading

from localcloud.cloud import LocalCloud, Ports

# Whose keys are shown, and what they are for.
_HOLDERS = {
    "carol": "a member of balenablocks, sees its private applications",
    "bob": "of another organization, sees what is public",
    "admin": "sees everything",
    "device": "a device of balenablocks/private-block",
}


def main() -> int:
    """Serve until Ctrl-C or SIGTERM."""
    options = _parse_options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with LocalCloud(
        host=options.host,
        public_host=options.public_host,
        ports=Ports(options.api_port, options.registry_port),
    ) as cloud:
        sys.stdout.write(_describe(cloud))
        sys.stdout.flush()
        stop.wait()
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud",
        description="Serve the sample applications until told to end.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--public-host", help="the host in URLs, if it is another")
    parser.add_argument("--api-port", type=int, default=0)
    parser.add_argument("--registry-port", type=int, default=0)
    return parser.parse_args()


def _describe(cloud: LocalCloud) -> str:
    lines = [f"API       {cloud.api_url}", f"registry  {cloud.registry_url}"]
    lines.append("applications:")
    for application in cloud.database.rows("application"):
        # The target release is starred; failed ones cannot be pulled.
        releases = cloud.database.find(
            "release", belongs_to__application=application["id"], status="success"
        )
        target = application["should_be_running__release"]
        versions = [r["raw_version"] + "*" * (r["id"] == target) for r in releases]
        private = "" if application["is_public"] else " (private)"
        listing = ", ".join(versions) or "no release"
        lines.append(f"  {application['slug']}{private}: {listing}")
    lines.append("keys, as password of any user name:")
    lines += [f"  {cloud.keys[name]}  {name}, {of}" for name, of in _HOLDERS.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
