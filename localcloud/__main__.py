"""``python -m localcloud``: serve the sample applications until told to end."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from localcloud.cloud import LocalCloud, Ports, tls_context

# Whose keys are shown, and what they are for.
_HOLDERS = {
    "carol": "a member of balenablocks, sees its private applications",
    "bob": "of another organization, sees what is public",
    "admin": "sees everything",
    "device": "a device of balenablocks/private-block",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    options = _parse_options(arguments)
    tls = (
        tls_context(options.tls_cert, options.tls_key or options.tls_cert)
        if options.tls_cert
        else None
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with LocalCloud(
        host=options.host,
        public_host=options.public_host,
        ports=Ports(options.api_port, options.registry_port, options.storage_port),
        registry_url=options.registry_url,
        registry_host=options.registry_host,
        redirect_blobs=options.redirect_blobs,
        tls=tls,
    ) as cloud:
        if options.certificate_bundle:
            cloud.issuer.certificate_bundle(options.certificate_bundle)
        sys.stdout.write(_describe(cloud))
        sys.stdout.flush()
        stop.wait()
    return 0


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud",
        description="Serve the sample applications until told to end.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen")
    parser.add_argument("--public-host", help="the host in URLs, if it is another")
    parser.add_argument("--api-port", type=int, default=0)
    parser.add_argument("--registry-port", type=int, default=0)
    parser.add_argument("--storage-port", type=int, default=0)
    parser.add_argument(
        "--redirect-blobs",
        action="store_true",
        help="answer blobs with a redirect to a storage server, as balenaCloud does",
    )
    parser.add_argument("--registry-url", help="front this registry, serve none")
    parser.add_argument("--registry-host", help="the host in image locations")
    parser.add_argument("--tls-cert", type=Path, help="serve TLS with this certificate")
    parser.add_argument("--tls-key", type=Path, help="its key, if it is elsewhere")
    parser.add_argument(
        "--certificate-bundle",
        type=Path,
        help="write docker-registry's rootcertbundle to this file",
    )
    return parser.parse_args(arguments)


def _describe(cloud: LocalCloud) -> str:
    lines = [f"API       {cloud.api_url}", f"registry  {cloud.registry_url}"]
    if cloud.storage_url:
        lines.append(f"storage   {cloud.storage_url}")
    lines.append("applications:")
    releases = cloud.database.rows("release")
    for application in cloud.database.rows("application"):
        target = application["should_be_running__release"]
        # The default release is starred; failed ones cannot be pulled.
        versions = [
            f"{release['raw_version']}{'*' * (release['id'] == target)}"
            for release in releases
            if release["belongs_to__application"] == application["id"]
            and release["status"] == "success"
        ]
        private = "" if application["is_public"] else " (private)"
        listed = ", ".join(versions) or "no release"
        lines.append(f"  {application['slug']}{private}: {listed}")
    lines.append("keys, as password of any user name:")
    lines += [f"  {cloud.keys[name]}  {name}, {of}" for name, of in _HOLDERS.items()]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
