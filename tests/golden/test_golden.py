"""What clients, operators and files get is what it was: no word of it has changed.

GOLDEN=write in the environment writes what is there now; the diff is then read.
"""

import difflib
import html
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
from mitmproxy.io import FlowReader, FlowWriter

from demo.proxy import Proxy
from localcloud import LocalCloud, sample
from localcloud.relay import Relay
from mitm.story.record import KEY
from registry_proxy import ROOT, serve
from registry_proxy.port import free_port
from tests.golden import script, told
from tests.golden.plain import LENGTH_MAX, Plain, each_kind, pattern
from tests.golden.play import MANIFESTS, TIMEOUT, Play
from tests.integration.tool import wait_for_start

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
                str(ROOT): "ROOT",
                MANIFESTS: "<manifests>",
            }
            plain = Plain(cloud, places)
            # At any other time this would come between what is asked.
            wait_for_start(proxy)
            yield Stage(cloud, registry, api, proxy, plain, Play(proxy, plain))
    sample.sample_images.cache_clear()


def blob_of(cloud: LocalCloud) -> str:
    """Return the digest of a blob of the release that is pulled."""
    image = next(i for i in cloud.images if i.repository.startswith(f"v2/{SMALL_BLOB}"))
    return min(image.blobs, key=lambda blob: len(blob.content)).digest


def logged(stage: Stage) -> str:
    """Return a log line of each kind, without what comes and goes at any time."""
    lines = [
        line
        for line in stage.plain.text(stage.proxy.log).splitlines()
        if not re.search(r"(client|server) (dis)?connect", line)
    ]
    return "\n".join(each_kind(lines, pattern))


def metrics_of(text: str) -> str:
    """Return names, help, types and labels of the proxy's own metrics."""
    text = re.sub(r'(version|mitmproxy|python)="[^"]*"', r'\1="…"', text)
    own = re.compile(r"(?!.*(_bucket{|_created)).*balena_proxy_")
    lines = filter(own.match, text.splitlines())
    return "\n".join(dict.fromkeys(re.sub(r"^([^#].*) .*", r"\1", x) for x in lines))


def saved_lines(plain: Plain, flow: http.HTTPFlow) -> str:
    """Return a saved flow."""
    request, response = flow.request, flow.response
    body = request.raw_content or b""
    lines = [
        f"{request.method} {plain.text(request.url)} {request.http_version}",
        *plain.headers(list(request.headers.items()), body),
        *([plain.body(body)] if body else []),
    ]
    if flow.error:
        lines.append(f"-- {plain.text(flow.error.msg)}")
    if response:
        body = response.raw_content or b""
        lines += [
            f"-- {response.status_code} {plain.text(response.reason)}",
            *plain.answer(list(response.headers.items()), body),
            *([plain.body(body)] if body else []),
        ]
    lines.append(f"-- {flow.marked} {plain.text(flow.comment)}")
    return "\n".join(lines)


def flow_kind(plain: Plain, flow: http.HTTPFlow) -> object:
    """Return what a flow has in common with others."""
    login = flow.metadata.get("balena", {}).get("login")
    return flow.request.method, login, pattern(plain.text(flow.comment))


def har_lines(plain: Plain, text: str) -> str:
    """Return a line of each kind of a HAR, without what is mitmproxy's own."""
    lines = {line.strip(" ,")[:LENGTH_MAX] for line in plain.text(text).splitlines()}
    own = re.compile(r'(?!"status").*: -?[\d.]+$|"version"|"serverIPAddress"')
    words = sorted(line for line in lines if not own.match(line))
    return "\n".join(each_kind(words, pattern))


def explain_lines(text: str) -> str:
    """Return each comment, and each sentence below one of its comments."""
    lines = text.splitlines()
    firsts = set(each_kind(lines, pattern))
    kept: list[str] = []
    for block in re.split(r"\n(?! )", text.strip()):
        comment, *sentences = block.splitlines()
        new = [line for line in sentences if line in firsts]
        if new or comment in firsts:
            kept += [comment, *new]
        firsts -= {comment, *new}
    return "\n".join(kept)


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
    # What is asked again, because it is too old, depends on how fast that was.
    text = re.sub(r"(of the proxy's own) \d+", r"\1 <number>", text)
    return "\n".join(each_kind(text.splitlines(), pattern))


def ask_mitmdump(folder: Path, flows: Path | None = None) -> list[str]:
    """Return what mitmdump with the addon says of options, commands and flows."""
    serve.link_options(folder)
    done = subprocess.run(
        [
            Path(sys.executable).parent / "mitmdump",
            *("--set", f"confdir={folder}", "-n", "-s", str(ROOT / "addon.py")),
            *("-q", "-s", told.__file__),
        ],
        env=os.environ | ({"FLOWS": str(flows)} if flows else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout.split(told.MARK)


def of_one_client(saved: Path, path: Path) -> Path:
    """Save the flows anew, as those of the one client that the script is.

    It has a connection for each request, and how such are told apart depends on time.
    """
    path.parent.mkdir()
    with saved.open("rb") as source, path.open("wb") as target:
        writer = FlowWriter(target)
        for flow in FlowReader(source).stream():
            if "connection" in (record := flow.metadata.get(KEY, {})):
                flow.metadata[KEY] = record | {"connection": "the script's"}
            writer.add(flow)
    return path


def test_tags_select(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Answers, log, metrics, saved and exported flows, explanations and report."""
    saved, har, port = tmp_path / "flows", tmp_path / "flows.har", free_port()
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
    flows.sort(key=lambda flow: saved_lines(plain, flow))
    kinds = each_kind(flows, lambda flow: flow_kind(plain, flow))
    compare("flows", "\n\n".join(saved_lines(plain, flow) for flow in kinds))
    compare("har", har_lines(plain, har.read_text()))
    _, _, explained, exported, views = ask_mitmdump(tmp_path, saved)
    compare("explain", explain_lines(plain.text(explained)))
    compare("export", "\n".join(sorted(set(plain.text(exported).splitlines()))))
    compare("views", plain.text(views))
    page = tmp_path / "page.html"
    report = [
        sys.executable,
        "-m",
        "registry_proxy",
        "report",
        str(of_one_client(saved, tmp_path / "one client" / "flows")),
        "-o",
        str(page),
    ]
    subprocess.run(report, cwd=ROOT, check=True, capture_output=True)
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
