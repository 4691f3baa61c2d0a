"""The proxy behind nginx, as that is deployed to keep blobs, beside a plain file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.contestant import PROXY, ROOT, Contestant, checkout
from bench.load import Question, Work
from bench.program import find, serving
from bench.site import BLOB, Site
from registry_proxy.port import free_port

FILE = "file"
"""What the same nginx gives for a file on the same disk."""
CONFIGURATIONS = ROOT / "deploy" / "nginx"
_PATH = "/plain/"


@contextmanager
def behind_nginx(site: Site) -> Iterator[Contestant]:
    """Run both in front of the registry that streams."""
    ours = checkout(
        site, site.streaming, ROOT, PROXY, BLOBS="nginx", TRUST_PROXY="true"
    )
    with ours.started(site) as proxy:
        port, folder = free_port(), site.folder / "caching"
        shutil.copytree(CONFIGURATIONS, folder)
        (folder / "cache").mkdir()
        config = folder / "cache.conf"
        text = config.read_text()
        plain = f"location {_PATH} {{ alias {site.folder}/storage/; }}\n"
        for deployed, here in (
            ("listen 8080;", f"listen 127.0.0.1:{port};\n{plain}"),
            ("server cached:8080 ", f"server 127.0.0.1:{proxy.port} "),
            ("/var/cache/nginx", f"{folder}/cache"),
            ("/run/registry-proxy", str(folder)),
            ("/var/log/nginx", str(folder)),
        ):
            text = text.replace(deployed, here)
        config.write_text(text)
        # Root, because the folder is root's alone.
        process = f"daemon off; user root; pid {folder}/pid; error_log stderr;"
        command = (find("nginx"), "-c", config, "-g", process)
        with serving(command, port, folder / "log"):
            yield replace(proxy, url=f"http://localhost:{port}")


def plain_file(site: Site, who: Contestant) -> Work:
    """Return the work of asking the same nginx for a blob as a file."""
    image = site.images[BLOB]
    digest = max(image.blobs, key=lambda blob: len(blob.content)).digest
    value = digest.partition(":")[2]
    path = f"docker/registry/v2/blobs/sha256/{value[:2]}/{value}/data"
    return Work(who.url, [Question(_PATH + path, {})], "length")
