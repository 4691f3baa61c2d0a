"""The program in a sample image: it writes one text on Linux, and ends.

It is put together by hand, a header and a few instructions, so that
``docker run`` has something to show without any compiler.
"""

import struct

_LOAD_ADDRESS = 0x400000
_HEADER_BYTES = 64 + 56


def greeting(architecture: str, text: str) -> bytes:
    """Return an ELF program for ``amd64`` or ``arm64``."""
    message = text.encode()
    machine, code = {
        "amd64": (62, _amd64(len(message))),
        "arm64": (183, _arm64(len(message))),
    }[architecture]
    size = _HEADER_BYTES + len(code) + len(message)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        2,  # executable
        machine,
        1,
        _LOAD_ADDRESS + _HEADER_BYTES,
        64,
        0,
        0,
        64,
        56,
        1,
        64,
        0,
        0,
    )
    segment = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, _LOAD_ADDRESS, _LOAD_ADDRESS, size, size, 0x10000
    )
    return header + segment + code + message


def _amd64(length: int) -> bytes:
    return b"".join(
        (
            b"\xb8\x01\x00\x00\x00",  # mov eax, 1 (write)
            b"\xbf\x01\x00\x00\x00",  # mov edi, 1 (stdout)
            b"\x48\x8d\x35\x10\x00\x00\x00",  # lea rsi, the message behind the code
            b"\xba" + struct.pack("<I", length),  # mov edx, length
            b"\x0f\x05",  # syscall
            b"\xb8\x3c\x00\x00\x00",  # mov eax, 60 (exit)
            b"\x31\xff",  # xor edi, edi
            b"\x0f\x05",  # syscall
        )
    )


def _arm64(length: int) -> bytes:
    return struct.pack(
        "<8I",
        0xD2800020,  # mov x0, 1 (stdout)
        0x100000E1,  # adr x1, the message behind the code
        0xD2800002 | length << 5,  # mov x2, length
        0xD2800808,  # mov x8, 64 (write)
        0xD4000001,  # svc
        0xD2800000,  # mov x0, 0
        0xD2800BA8,  # mov x8, 93 (exit)
        0xD4000001,  # svc
    )
