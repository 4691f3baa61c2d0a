"""The command: its subcommands, their help, and what they are told."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest

from localcloud import LocalCloud
from mitm.option import VARIABLES
from mitm.version import VERSION
from registry_proxy import ROOT
from registry_proxy.command import COMMANDS, main

SECONDS = 60


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "registry_proxy", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """So does the command alone, and an unknown one is told which there are."""
    for words in ([], ["--help"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in COMMANDS)
    assert main(["rn"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("registry-proxy: 'rn' is no command; there are run, web, ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is told without a command."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"registry-proxy {VERSION}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it does, and has each variable that it reads as an option."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: registry-proxy {name} ")
    for variable in COMMANDS[name].variables:
        assert f"--{variable.lower().replace('_', '-')} " in shown


def test_serving_takes_every_variable() -> None:
    """Whatever the table has is an option of the command line."""
    assert set(COMMANDS["run"].variables) == set(VARIABLES)


def test_option_beats_the_variable() -> None:
    """The one that is nearer to the user counts."""
    done = command("run", "--proxy-port", "nine", PROXY_PORT="eight")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("registry proxy: PROXY_PORT: 'nine' is no port")


def test_any_registry_is_named_in_one_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--registry` stands for two variables, and beats them."""
    seen: list[Sequence[str]] = []
    monkeypatch.setenv("NAMES", "balena")
    monkeypatch.setenv("PROXY_PORT", "0")
    monkeypatch.setattr(
        "registry_proxy.serve.program.run", lambda _, words: seen.append(words)
    )
    assert main(["run", "--registry", "https://registry.example.com"]) == 0
    (words,) = seen
    assert "balena_names=registry" in words
    assert "reverse:https://registry.example.com@127.0.0.1:0" in words


def test_words_behind_dashes_go_to_mitmproxy() -> None:
    """They come after those of ARGS, and are looked at as these are."""
    with LocalCloud(publish=False) as cloud:
        url = ("--registry-url", cloud.registry_url, "--proxy-port", "0")
        done = command("run", *url, "--", "--set", "http2=true")
        version = command("run", *url, "--", "--version", ARGS="--set web_debug=false")
    assert "ARGS: --set http2 has no effect" in done.stderr
    assert version.stdout.startswith("Mitmproxy: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["LISTEN_HOST=0.0.0.0"], "LISTEN_HOST=…: write --listen-host and the value"),
        (
            ["--port", "90"],
            "--port: there is no such option; --proxy-port may",
        ),
        (["--proxy-prot=90"], "there is no such option; --proxy-port may be meant"),
        (["9000"], "9000: nobody reads this; what is for mitmproxy stands after --"),
    ],
)
def test_strange_word_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing starts that would ignore what somebody wrote."""
    with pytest.raises(SystemExit) as ended:
        main(["run", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_console_needs_a_terminal() -> None:
    """Without one there is a line in the place of a traceback."""
    done = command("console", "--proxy-port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "console needs a terminal" in done.stderr


def test_once_is_true_or_false() -> None:
    """What is neither is named."""
    done = command("demo", ONCE="maybe", PROXY_PORT="0")
    assert done.returncode == 1
    assert "ONCE: 'maybe' is neither true nor false; write ONCE=1" in done.stderr


def test_taken_port_is_told_in_one_line() -> None:
    """Before mitmproxy is loaded, with a port that works."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for name in ("run", "web", "demo", "debug-demo"):
            done = command(name, PROXY_PORT=port)
            assert done.returncode == 1
            assert done.stderr.startswith(f"registry proxy: PROXY_PORT: {port} of ")
            assert done.stderr.count("\n") == 1


def test_misspelt_variable_of_make() -> None:
    """The line has what make was told, spelt right."""
    done = subprocess.run(
        [
            "make",
            "--old-file=install-runtime",
            f"VENV={sys.prefix}",
            "run",
            "PORT=9000",
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr.splitlines()[0] == (
        "registry proxy: PORT: there is no such variable; write PROXY_PORT=9000"
    )


def test_reader_that_goes_away_is_no_error() -> None:
    """`registry-proxy demo | head -1` ends without a traceback."""
    shell = f"{sys.executable} -m registry_proxy demo --once | head -n 1"
    done = subprocess.run(
        ["sh", "-c", shell],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stdout.startswith("starting a small balenaCloud")
    assert done.stderr == ""
