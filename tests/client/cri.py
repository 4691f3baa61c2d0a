"""What a kubelet asks of containerd: the image service of the CRI, over gRPC.

Messages are written by hand, as four of their fields are needed:
https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
"""

from pathlib import Path

import grpc

from tests.client.client import Client, digests_in, name_in_mirror
from tests.client.place import Place
from tests.integration.tool import COMMAND_SECONDS, ToolError

_SERVICE = "/runtime.v1.ImageService"
_LENGTH_DELIMITED = 2


class Cri(Client):
    """containerd, as Kubernetes uses it."""

    def __init__(self, folder: Path, socket: Path, place: Place) -> None:
        super().__init__(folder, place)
        self._socket = socket

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull with the credential that an image pull secret would be, and forget."""
        image = _field(1, _field(1, reference.encode()))
        login = _field(1, b"u") + _field(2, key.encode()) if key else b""
        with grpc.insecure_channel(
            f"unix://{self._socket}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            self._call(channel, "PullImage", image + (_field(2, login) if key else b""))
            status = self._call(channel, "ImageStatus", image)
            self._call(channel, "RemoveImage", image)
        # Its digests have the repository before them, unlike its id.
        (digest,) = digests_in(status.decode(errors="replace"), "@")
        return digest

    def _call(self, channel: grpc.Channel, method: str, request: bytes) -> bytes:
        try:
            answer: bytes = channel.unary_unary(f"{_SERVICE}/{method}")(
                request, timeout=COMMAND_SECONDS
            )
        except grpc.RpcError as error:
            raise ToolError(error.details()) from error
        return answer


class CriMirror(Cri):
    """containerd as Kubernetes uses it, with the proxy as a mirror."""

    transport = ("a URL with http",)

    def pull(self, reference: str, key: str | None = None) -> str:
        """Pull what that registry has under the name."""
        hosts = self._socket.parent / "certs.d"
        mirrored = name_in_mirror(hosts, reference, is_plain=bool(self.transport))
        return super().pull(mirrored, key)


def _field(number: int, value: bytes) -> bytes:
    """Return a field that is text, or a message."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
