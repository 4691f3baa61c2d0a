"""Who is compared, and how each is started in front of a registry.

::

    direct     the registry itself; for tokens, the API
    proxy      this checkout, as `make run` starts it
    mitmdump   mitmproxy with the proxy's options, and without its addon
    node       a plain reverse proxy in Node.js
    peer       another checkout of this project, or a proxy that runs already

A checkout is started by its own command, and by the Python that runs this one: then
nothing differs but the code.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.program import Command, ProgramError, find, run, serving
from bench.site import Site
from registry_proxy.port import free_port

ROOT = Path(__file__).resolve().parents[1]
NODE_FOLDER = Path(__file__).parent / "node"
DIRECT, PROXY, BARE, NODE, PEER = "direct", "proxy", "mitmdump", "node", "peer"
_STARTS = {"registry_proxy": ("-m", "registry_proxy", "run"), "serve.py": ("serve.py",)}
"""How a checkout is started, by what it has; older ones have `serve.py`."""
_PROC = Path("/proc")
_USER, _SYSTEM = 11, 12
"""Where the times are in `stat`, behind the name of the program."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """What clients pull through."""

    name: str
    url: str
    is_ours: bool = False
    """Whether it knows aliases, and gives tokens itself."""
    command: Command = ()
    """What starts it, if that is to be done here."""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    process: int = 0
    """Its number; 0 where it is not measured."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    @contextmanager
    def started(self, site: Site) -> Iterator["Contestant"]:
        """Run it while the context lasts."""
        log = site.folder / f"{self.name}-{self.port}.log"
        with serving(
            self.command, self.port, log, self.environment, self.folder
        ) as process:
            yield replace(self, process=process)

    def processor_seconds(self) -> float:
        """Return how long all threads together have kept a core busy."""
        stat = (_PROC / str(self.process) / "stat").read_text()
        fields = stat.rpartition(")")[2].split()
        ticks = int(fields[_USER]) + int(fields[_SYSTEM])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return how many bytes are resident."""
        return self._memory("VmRSS:")

    def peak_memory(self) -> int:
        """Return how many bytes were resident at most, since `forget_peak`."""
        return self._memory("VmHWM:")

    def forget_peak(self) -> int:
        """Begin anew to look for the most memory, and return how much there is now."""
        (_PROC / str(self.process) / "clear_refs").write_text("5")
        return self.memory()

    def _memory(self, name: str) -> int:
        status = (_PROC / str(self.process) / "status").read_text()
        return int(status.partition(name)[2].split()[0]) << 10


def checkout(
    site: Site, registry: str, folder: Path, name: str, *options: str, **more: str
) -> Contestant:
    """Return a checkout of this project, with more words for mitmdump and variables."""
    found = (words for name, words in _STARTS.items() if (folder / name).exists())
    start = next(found, ())
    if not start:
        raise ProgramError(
            f"PEER: {folder} is no checkout of this project; write the"
            " folder of one, or the URL of a proxy as http://localhost:5000"
        )
    port = free_port()
    environment = {
        "REGISTRY_URL": registry,
        "API_URL": site.api,
        "PROXY_PORT": str(port),
        "GRACE_PERIOD": "0",
        "CONFDIR": str(site.folder / f"confdir-{name}"),
        "TLS": "authority" if site.certificate else "",
        "ARGS": shlex.join([*_trusting(site), *options]),
        **more,
    }
    url = f"{'https' if environment['TLS'] else 'http'}://localhost:{port}"
    command = (sys.executable, *start)
    return Contestant(
        name, url, is_ours=True, command=command, environment=environment, folder=folder
    )


def bare(site: Site, registry: str) -> Contestant:
    """Return mitmdump without the addon."""
    confdir = site.folder / "confdir-bare"
    confdir.mkdir(exist_ok=True)
    (confdir / "config.yaml").write_bytes((ROOT / "mitm.conf").read_bytes())
    port = free_port()
    command: list[str | Path] = [
        Path(sys.executable).with_name("mitmdump"),
        *("--mode", f"reverse:{registry}@127.0.0.1:{port}"),
        *("--set", f"confdir={confdir}", "--set", "stream_large_bodies=1m"),
        *_trusting(site),
    ]
    return Contestant(BARE, _local(registry, port), command=command)


def node(site: Site, registry: str) -> Contestant:
    """Return the proxy in Node.js, once it is installed."""
    run([find("npm"), "install"], folder=NODE_FOLDER)
    port = free_port()
    tls = [site.certificate] * 2 if site.certificate else []
    script = NODE_FOLDER / "proxy.js"
    return Contestant(
        NODE,
        _local(registry, port),
        command=[find("node"), script, registry, str(port), *tls],
        environment={"NODE_EXTRA_CA_CERTS": str(site.certificate or "")},
    )


def _local(registry: str, port: int) -> str:
    return f"{urlsplit(registry).scheme}://localhost:{port}"


def _trusting(site: Site) -> tuple[str, ...]:
    """Return the words that let mitmproxy trust registry and API."""
    if site.certificate is None:
        return ()
    return ("--set", f"ssl_verify_upstream_trusted_ca={site.certificate}")
