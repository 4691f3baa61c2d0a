"""The transport verifies servers as it is told, and sends nothing to others."""

from pathlib import Path

import pytest
from urllib3.exceptions import InsecureRequestWarning

from resolver.errors import ServiceUnavailable
from resolver.upstream.transport import Verification
from tests.authority import Authority, tls_context
from tests.resolver.fake import SOON
from tests.resolver.server import Reply, Server, connected

SECRET = "Bearer made-up-key-0123456789"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Return the authority that signs the servers' certificates."""
    return Authority("private")


@pytest.fixture(scope="module")
def other() -> Authority:
    """Return another authority."""
    return Authority("other")


@pytest.mark.parametrize("places", ["file", "folder", "both", "other file, folder"])
def test_private_authority_is_trusted(
    places: str, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    """An authority counts when its file, or a folder with it, is named."""
    own = authority.write_file(tmp_path / "ca.pem")
    folder = authority.write_folder(tmp_path / "folder")
    foreign = other.write_file(tmp_path / "other.pem")
    verification = {
        "file": Verification(ca_file=own),
        "folder": Verification(ca_folder=folder),
        "both": Verification(ca_file=own, ca_folder=folder),
        "other file, folder": Verification(ca_file=foreign, ca_folder=folder),
    }[places]
    server = Server([Reply(body=b"safe")], authority.server_context(tmp_path))
    with connected(server, verification) as (ours, pauses):
        assert ours.get(server.url, deadline=SOON).body == b"safe"
    assert pauses == []


@pytest.mark.parametrize("places", ["usual", "other file", "other folder", "empty"])
def test_unknown_authority_is_refused(
    places: str, authority: Authority, other: Authority, tmp_path: Path
) -> None:
    """A certificate of nobody we know gets no request, and so no credential."""
    empty = tmp_path / "empty"
    empty.mkdir()
    verification = {
        "usual": Verification(),
        "other file": Verification(ca_file=other.write_file(tmp_path / "other.pem")),
        "other folder": Verification(ca_folder=other.write_folder(tmp_path / "other")),
        "empty": Verification(ca_folder=str(empty)),
    }[places]
    server = Server([Reply()], authority.server_context(tmp_path))
    with (
        connected(server, verification) as (ours, _),
        pytest.raises(ServiceUnavailable),
    ):
        ours.get(server.url, authorization=SECRET, deadline=SOON)
    assert server.requests == []


def test_certificate_of_another_host_is_refused(
    authority: Authority, tmp_path: Path
) -> None:
    """A known authority is not enough: the certificate has to be the host's own."""
    own = authority.write_file(tmp_path / "ca.pem")
    file = authority.server_file(tmp_path, "other.example")
    server = Server([Reply()], tls_context(file))
    with (
        connected(server, Verification(ca_file=own)) as (ours, _),
        pytest.raises(ServiceUnavailable),
    ):
        ours.get(server.url.replace("127.0.0.1", "localhost"), deadline=SOON)
    assert server.requests == []


def test_verification_can_be_switched_off(authority: Authority, tmp_path: Path) -> None:
    """Without verification any certificate will do, and urllib3 warns about it."""
    server = Server([Reply(body=b"unsafe")], authority.server_context(tmp_path))
    with (
        connected(server, Verification(enabled=False)) as (ours, _),
        pytest.warns(InsecureRequestWarning),
    ):
        assert ours.get(server.url, deadline=SOON).body == b"unsafe"
