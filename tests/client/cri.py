"""What a kubelet asks of containerd: the image service of the CRI, over gRPC.

Messages are written by hand, as four of their fields are needed:
https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
"""

from collections.abc import Iterator
from pathlib import Path

import grpc

from tests.client.client import Client, digest_in, name_in_mirror
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
        # Its digests have the repository before them.
        (digests,) = _values(status, 1, 3)
        return digest_in(digests.decode())

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


def _values(message: bytes, number: int, *path: int) -> Iterator[bytes]:
    """Yield what the field has, or that field within it."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        length, at = _read_varint(message, at)
        if tag & 7 != _LENGTH_DELIMITED:
            continue  # A number, which is read by now.
        value, at = message[at : at + length], at + length
        if tag >> 3 == number:
            yield from _values(value, *path) if path else (value,)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = message[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
