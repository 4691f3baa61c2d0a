"""What clients, operators and files get is what it was: no word of it has changed.

GOLDEN=write in the environment writes what is there now; the diff is then read.
"""

import difflib
import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from mitmproxy import http
from mitmproxy.io import FlowReader

import serve
from demo.proxy import Proxy
from localcloud import LocalCloud, sample
from localcloud.relay import Relay
from tests.golden import script, told
from tests.golden.plain import Plain
from tests.golden.play import TIMEOUT, Play

EXPECTED = Path(__file__).with_name("expected")
OPTIONS = (
    *("--set", "balena_api_timeout=5"),
    *("--set", "balena_registry_timeout=5"),
)
SMALL_BLOB = "567e"


def compare(name: str, text: str) -> None:
    """Fail with a diff unless the file has the text; or write it, if so told."""
    path = EXPECTED / f"{name}.txt"
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    text = text.encode(errors="backslashreplace").decode()
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    diff = difflib.unified_diff(
        before.splitlines(), text.splitlines(), f"expected/{name}.txt", "now", n=6
    )
    lines = list(diff)[:200]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


@dataclass(frozen=True, slots=True)
class Stage:
    """A proxy, what is behind it, and who asks it."""

    cloud: LocalCloud
    registry: Relay
    api: Relay
    proxy: Proxy
    plain: Plain
    play: Play


@contextmanager
def staged(
    monkeypatch: pytest.MonkeyPatch,
    environment: Mapping[str, str],
    *arguments: str,
    redirects: bool = False,
) -> Iterator[Stage]:
    """Run it, with images that are the same on each machine."""
    monkeypatch.setattr(sample, "machine_architecture", lambda: "amd64")
    sample.sample_images.cache_clear()
    with LocalCloud(redirect_blobs=redirects) as cloud:
        script.add_what_is_missing(cloud)
        with (
            Relay(urlsplit(cloud.registry_url).port or 0) as registry,
            Relay(urlsplit(cloud.api_url).port or 0) as api,
            Proxy(
                f"http://127.0.0.1:{registry.port}",
                environment={"API_URL": f"http://127.0.0.1:{api.port}", **environment},
                arguments=[*OPTIONS, *arguments],
            ) as proxy,
        ):
            places = {
                proxy.host: "PROXY",
                urlsplit(cloud.registry_url).netloc: "REGISTRY",
                urlsplit(cloud.api_url).netloc: "API",
                urlsplit(cloud.storage_url).netloc or "no storage": "STORAGE",
                f"127.0.0.1:{registry.port}": "REGISTRY",
                f"127.0.0.1:{api.port}": "API",
                f"127.0.0.1:{proxy.port}": "PROXY",
                str(serve.ROOT): "ROOT",
            }
            plain = Plain(cloud, places)
            yield Stage(cloud, registry, api, proxy, plain, Play(proxy, plain))
    sample.sample_images.cache_clear()


def blob_of(cloud: LocalCloud) -> str:
    """Return the digest of a blob of the release that is pulled."""
    image = next(i for i in cloud.images if i.repository.startswith(f"v2/{SMALL_BLOB}"))
    return min(image.blobs, key=lambda blob: len(blob.content)).digest


def logged(stage: Stage) -> str:
    """Return the log, without what comes and goes at any time."""
    lines = [
        line
        for line in stage.plain.text(stage.proxy.log).splitlines()
        if not re.search(r"(client|server) (dis)?connect", line)
    ]
    return "\n".join(lines)


def metrics_of(text: str) -> str:
    """Return names, help, types and labels of the proxy's own metrics."""
    found = dict.fromkeys(
        re.sub(r'(version|mitmproxy|python)="[^"]*"', r'\1="…"', line).rpartition(" ")[
            0
        ]
        if not line.startswith("#")
        else line
        for line in text.splitlines()
        if "balena_proxy_" in line and "_bucket{" not in line and "_created" not in line
    )
    return "\n".join(found)


def message_lines(plain: Plain, message: http.Message) -> list[str]:
    """Return headers and body of a saved message."""
    body = message.raw_content or b""
    names = str(message.headers)
    lines = [
        plain.header(name, value, names, body)
        for name, value in message.headers.items()
    ]
    return [*lines, plain.body(body)] if body else lines


def saved_lines(plain: Plain, flow: http.HTTPFlow) -> str:
    """Return a saved flow."""
    request, response = flow.request, flow.response
    lines = [
        f"{request.method} {plain.text(request.url)} {request.http_version}",
        *message_lines(plain, request),
        f"-- {flow.error and plain.text(flow.error.msg)}",
    ]
    if response:
        lines.append(f"{response.status_code} {response.reason}")
        lines += message_lines(plain, response)
    lines.append(f"-- {flow.marked} {plain.text(flow.comment)}")
    return "\n".join(lines)


def har_lines(plain: Plain, text: str) -> str:
    """Return an entry of a HAR for each kind of request and answer, without times."""
    entries: dict[tuple[str, ...], str] = {}
    for entry in json.loads(text)["log"]["entries"]:
        request, response = entry["request"], entry["response"]
        kind = request["url"].partition("?")[0].split("/")[-2:-1]
        kept = {
            "request": without_sizes(request),
            "response": without_sizes(response),
            **{name: entry[name] for name in entry if name in ("comment", "cache")},
        }
        shown = plain.text(json.dumps(kept, indent=1))
        key = (request["method"], str(response["status"]), *kind)
        entries[key] = min(entries.get(key, shown), shown)
    return "\n".join(entries[key] for key in sorted(entries))


def without_sizes(message: Mapping[str, object]) -> Mapping[str, object]:
    """Return a message of a HAR without what depends on ports and compression."""
    shown = {
        name: without_sizes(value) if isinstance(value, dict) else value
        for name, value in message.items()
        if not name.lower().endswith("size")
    }
    for name in ("headers", "queryString", "cookies"):
        if isinstance(pairs := shown.get(name), list):
            shown[name] = [f"{each['name']}: {each['value']}" for each in pairs]
    return shown


def report_text(plain: Plain, page: str) -> str:
    """Return what a page says, in a line for each paragraph, row or the like, once."""
    body = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    body = " ".join(body.split())
    blocks = re.sub(r"</(p|li|tr|dl|h\d|summary|caption|title|header|nav)>", "\n", body)
    texts = html.unescape(re.sub(r"<[^>]*>", " ", blocks))
    lines = (" ".join(each.split()) for each in texts.splitlines())
    text = plain.text("\n".join(lines))
    # Who took how long is another in each run, and so is the scale.
    text = re.sub(r"(?m)(\+<time> <time>|the time was spent) .*$", r"\1", text)
    return "\n".join(dict.fromkeys(text.splitlines()))


def ask_mitmdump(folder: Path, flows: Path | None = None) -> list[str]:
    """Return what mitmdump with the addon says of options, commands and flows."""
    serve.link_options(folder)
    done = subprocess.run(
        [
            Path(sys.executable).parent / "mitmdump",
            *("--set", f"confdir={folder}", "-n", "-s", str(serve.ROOT / "addon.py")),
            *("-q", "-s", told.__file__),
        ],
        env=os.environ | serve.UNBUFFERED | ({"FLOWS": str(flows)} if flows else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout.split(told.MARK)


def test_tags_select(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Answers, log, metrics, saved and exported flows, explanations and report."""
    saved, har, port = tmp_path / "flows", tmp_path / "flows.har", serve.free_port()
    arguments = ("-w", str(saved), "--set", f"hardump={har}")
    variables = {"METRICS_PORT": str(port)}
    with staged(monkeypatch, variables, *arguments) as stage:
        script.ask_everything(stage.play, stage.cloud)
        digest = blob_of(stage.cloud)
        script.break_things(stage.play, stage.cloud, stage.registry, stage.api, digest)
        url = f"http://127.0.0.1:{port}/metrics"
        metrics = requests.get(url, timeout=TIMEOUT, proxies={"http": ""}).text
        log, plain = logged(stage), stage.plain
    compare("select-answers", stage.play.transcript)
    compare("select-log", log)
    compare("metrics", metrics_of(metrics))
    with saved.open("rb") as file:
        flows = [f for f in FlowReader(file).stream() if isinstance(f, http.HTTPFlow)]
    compare("flows", "\n\n".join(sorted({saved_lines(plain, flow) for flow in flows})))
    compare("har", har_lines(plain, har.read_text()))
    _, _, explained, exported = ask_mitmdump(tmp_path, saved)
    sentences = dict.fromkeys(re.split(r"\n(?! )", plain.text(explained)))
    compare("explain", "\n".join(sentences))
    compare("export", "\n".join(sorted(set(plain.text(exported).splitlines()))))
    page = tmp_path / "page.html"
    report = [sys.executable, "-m", "report", str(saved), "-o", str(page)]
    subprocess.run(report, cwd=serve.ROOT, check=True, capture_output=True)
    compare("report", report_text(plain, page.read_text()))


def test_tags_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and log in JSON where tags are ignored and blobs are elsewhere."""
    variables = {"TAGS": "ignore", "LOG_FORMAT": "json"}
    with staged(monkeypatch, variables, redirects=True) as stage:
        for name, tags in script.TAGS.items():
            for tag in tags:
                stage.play.pull(name, tag)
        stage.play.get(f"{script.BROWSER}/tags/list", stage.play.token(script.BROWSER))
        script.ask_for_content(stage.play)
        script.ask_with_keys(stage.play, stage.cloud)
        log = logged(stage)
    compare("ignore-answers", stage.play.transcript)
    compare("ignore-log", log)


def test_blobs_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers and log where the proxy fetches blobs, and looks for content."""
    with staged(monkeypatch, {"BLOBS": "follow"}, redirects=True) as stage:
        script.ask_for_content(stage.play)
        script.look_for_content(stage.play)
        script.break_storage(stage.play, stage.cloud, blob_of(stage.cloud))
        log = logged(stage)
    compare("follow-answers", stage.play.transcript)
    compare("follow-log", log)


def test_options_and_commands(tmp_path: Path) -> None:
    """Names, types, defaults and help are what users have in their files."""
    options, commands, *_ = ask_mitmdump(tmp_path)
    compare("options", options)
    compare("commands", commands)
