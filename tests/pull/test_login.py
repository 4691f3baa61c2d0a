"""Logins: where they are kept, and to whom a key is sent."""

import base64
import json
from pathlib import Path

import pytest

from cause.finding import Cause
from pull.fault import Fault
from pull.login import Login, Logins
from resolver.grammar.challenge import RELAY_PATH, TOKEN_PATH

HOST = "r.example:5000"
BALENA = "https://api.example/auth/v1/token"
TOKENS = "https://api.balena-cloud.com/auth/v1/token"
OTHER = "https://auth.example/token"
KEY = "k" * 32


def entry(user: str, password: str) -> dict[str, str]:
    """Return what `docker login` keeps."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def logins(folder: Path, config: object, **variables: str) -> Logins:
    """Return the logins of a folder of docker's."""
    (folder / "config.json").write_text(json.dumps(config))
    return Logins({"DOCKER_CONFIG": str(folder), **variables})


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """Write a helper, and return the environment that finds it."""
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize("name", [HOST, f"https://{HOST}"])
def test_login_of_docker(name: str, tmp_path: Path) -> None:
    """It is found by the host, as docker writes it or as it once did."""
    find = logins(tmp_path, {"auths": {name: entry("carol", "pass:word")}})
    source = str(tmp_path / "config.json")
    assert find(HOST, OTHER) == Login("carol", "pass:word", source)
    assert find("other.example", OTHER) is None


def test_login_of_the_hub(tmp_path: Path) -> None:
    """Docker Hub's is kept under a name of old."""
    name = "https://index.docker.io/v1/"
    find = logins(tmp_path, {"auths": {name: {"identitytoken": "t"}}})
    login = find("docker.io", OTHER)
    assert login is not None
    assert (login.secret, login.is_identity) == ("t", True)


def test_key_goes_to_balena(tmp_path: Path) -> None:
    """Other registries get what docker has for them, unless a user name is given."""
    config = {"auths": {HOST: entry("carol", "password")}}
    find = logins(tmp_path, config, BALENA_API_KEY=f"{KEY}\n")
    own = Login("me", KEY, "BALENA_API_KEY")
    assert find("registry2.balena-cloud.com", TOKENS) == own
    assert find("localhost:8080", "http://localhost:8080/auth/v1/token") == own
    # Whoever names balena's realm, or one like it, is not balena.
    for host, realm in (
        (HOST, OTHER),
        (HOST, BALENA),
        (HOST, f"https://{HOST}/auth/v1/token"),
        ("balena-cloud.com.example", BALENA),
        ("registry2.balena-cloud.com", f"https://{HOST}/auth/v1/token"),
    ):
        other = find(host, realm)
        assert other is None or other.secret == "password"
    find = Logins({"BALENA_API_KEY": KEY}, "dave")
    assert find(HOST, OTHER) == Login("dave", KEY, "BALENA_API_KEY")
    assert KEY not in repr(find(HOST, OTHER))


def test_key_goes_to_no_other_registry(tmp_path: Path) -> None:
    """Where the proxy passes logins on to another registry, a key is not for that."""
    find = logins(tmp_path, {}, BALENA_API_KEY=KEY)
    host = "localhost:8080"
    assert find(host, f"http://{host}{TOKEN_PATH}")
    assert find(host, f"http://{host}{RELAY_PATH}") is None


def test_no_login(tmp_path: Path) -> None:
    """Where nobody has logged in, nobody is."""
    assert Logins({"DOCKER_CONFIG": str(tmp_path)})(HOST, BALENA) is None


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_helper(key: str, tmp_path: Path) -> None:
    """It is asked as docker asks it: `get`, and the host on its standard input."""
    answer = '{"ServerURL": "x", "Username": "%s", "Secret": "from-%s"}'
    script = f"read host; printf '{answer}' $1 $host"
    config = {key: "test" if key == "credsStore" else {HOST: "test"}}
    find = logins(tmp_path, config, **helper(tmp_path, "test", script))
    source = "docker-credential-test"
    assert find(HOST, OTHER) == Login("get", f"from-{HOST}", source)


def test_helper_without_login(tmp_path: Path) -> None:
    """Then the file itself is looked at."""
    script = "echo credentials not found in native keychain; exit 1"
    config = {"credsStore": "test", "auths": {HOST: entry("carol", "password")}}
    find = logins(tmp_path, config, **helper(tmp_path, "test", script))
    login = find(HOST, OTHER)
    assert login is not None
    assert login.user == "carol"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo locked; exit 1", "gives no login: locked"),
        ("echo secret", "what it prints is no login"),
        ("echo '[]'", "what it prints is no login"),
    ],
)
def test_helper_that_fails(script: str, words: str, tmp_path: Path) -> None:
    """It is named, with what it says of itself."""
    config = {"credsStore": "test"}
    find = logins(tmp_path, config, **helper(tmp_path, "test", script))
    with pytest.raises(Fault, match=words) as caught:
        find(HOST, OTHER)
    assert caught.value.cause is Cause.LOGIN
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "cannot be read"),
        ('{"credsStore": "../x"}', "../x is no credential helper"),
        ('{"credsStore": "none-such"}', "docker-credential-none-such, which"),
        (f'{{"auths": {{"{HOST}": {{"auth": "/w=="}}}}}}', "an entry is no base64"),
    ],
)
def test_file_of_no_use(config: str, words: str, tmp_path: Path) -> None:
    """It is named, and what is wrong with it."""
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(Fault, match=words):
        Logins({"DOCKER_CONFIG": str(tmp_path), "PATH": "/nowhere"})(HOST, OTHER)


def test_variables_of_no_use(tmp_path: Path) -> None:
    """A key has no spaces in it, and a user name needs one."""
    with pytest.raises(Fault, match="BALENA_API_KEY holds characters"):
        logins(tmp_path, {}, BALENA_API_KEY="k\nk")(HOST, BALENA)
    with pytest.raises(Fault, match="BALENA_API_KEY is not set"):
        Logins({}, "carol")(HOST, OTHER)
