"""A disk that remembers the order of what was written to it: `python -m tests.harness.recorder IMAGE POINT LOG`.

The file POINT becomes IMAGE by FUSE (one file, whose node is the root), for a loop device to lie on. Each write and each
flush goes to LOG, then to IMAGE, then it is answered: so what a program was told is on disk is so in the log. Prints a
line when it serves; ends when POINT is unmounted.

The messages are those of <linux/fuse.h>, protocol 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys

IN = struct.Struct("<IIQQIIIHH")
OUT = struct.Struct("<IiQ")
MOVE = struct.Struct("<QQIIQII")
"""fuse_read_in and fuse_write_in: handle, offset, size, and what is not of interest here."""
ENTRY = struct.Struct("<QI")
"""In the log: the offset of a write and its length, then its bytes. A flush has the offset `FLUSH`."""
FLUSH = (1 << 64) - 1

_DESTROY = 38
_FORGETS = {2, 36, 42}
"""FORGET, INTERRUPT, BATCH_FORGET: nobody waits for an answer."""
_LARGEST = 128 * 1024
_DIRECT_IO = 1
_BIG_WRITES = 1 << 5


class Recorder:
    """Serves until the end."""

    def __init__(self, image: str, log: str, device: int) -> None:
        self._image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._device = device
        self._size = os.fstat(self._image).st_size

    def serve(self) -> None:
        while True:
            try:
                message = os.read(self._device, _LARGEST + 64 * 1024)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    # Unmounted.
                    return
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                raise
            _, opcode, unique, *_ = IN.unpack_from(message)
            if opcode in _FORGETS:
                continue
            answer = self._answer(opcode, message[IN.size :])
            code, body = (0, answer) if isinstance(answer, bytes) else (-answer, b"")
            os.write(self._device, OUT.pack(OUT.size + len(body), code, unique) + body)
            if opcode == _DESTROY:
                return

    def _answer(self, opcode: int, body: bytes) -> bytes | int:
        """The answer's bytes, or an error number."""
        match opcode:
            case 26:  # INIT
                return struct.pack("<IIIIHHIIHHI28x", 7, 31, _LARGEST, _BIG_WRITES, 16, 12, _LARGEST, 1, 0, 0, 0)
            case 3 | 4:  # GETATTR, SETATTR
                return struct.pack("<QII", 3600, 0, 0) + self._attributes()
            case 14:  # OPEN
                return struct.pack("<QII", 1, _DIRECT_IO, 0)
            case 15:  # READ
                _, offset, size, *_ = MOVE.unpack_from(body)
                return os.pread(self._image, size, offset)
            case 16:  # WRITE
                _, offset, size, *_ = MOVE.unpack_from(body)
                data = body[MOVE.size : MOVE.size + size]
                os.write(self._log, ENTRY.pack(offset, len(data)) + data)
                os.pwrite(self._image, data, offset)
                return struct.pack("<II", len(data), 0)
            case 20:  # FSYNC
                os.write(self._log, ENTRY.pack(FLUSH, 0))
                return b""
            case 17:  # STATFS
                return struct.pack("<QQQQQIIII24x", self._size // 4096, 0, 0, 1, 0, 4096, 255, 4096, 0)
            case 18 | 25 | 38:  # RELEASE, FLUSH, DESTROY
                return b""
        return errno.ENOSYS

    def _attributes(self) -> bytes:
        mode = stat.S_IFREG | 0o600
        return struct.pack("<6Q10I", 1, self._size, self._size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def main() -> None:
    """The entry point."""
    image, point, log = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=100000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"recorder", point.encode(), b"fuse.recorder", 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), point)
    print("serving", flush=True)
    Recorder(image, log, device).serve()


if __name__ == "__main__":
    main()
