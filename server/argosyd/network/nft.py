"""nftables in this process, through libnftables: a change takes a fraction of what an `nft` process takes."""

from __future__ import annotations

import ctypes
import ctypes.util

from argosy.errors import Unavailable, Unsupported


class Nft:
    """One context of libnftables(3). Use it from one thread, in the network namespace it was made in."""

    def __init__(self) -> None:
        """Unsupported when the library is not installed."""
        name = ctypes.util.find_library("nftables") or "libnftables.so.1"
        try:
            library = ctypes.CDLL(name)
        except OSError:
            raise Unsupported(
                "networks need nftables: apt install libnftables1", kind="program", id="libnftables"
            ) from None
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for function in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, function).restype = ctypes.c_char_p
            getattr(library, function).argtypes = [ctypes.c_void_p]
        for function in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, function).argtypes = [ctypes.c_void_p]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        self._context = library.nft_ctx_new(0)
        if not self._context:
            raise Unavailable("nftables does not start: is the kernel module nf_tables there?", kind="firewall")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> str:
        """Runs commands in one transaction and gives what they print. Unavailable when the kernel refuses one."""
        if not commands:
            return ""
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            complaint = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode("utf-8", "replace")
            first = next((line for line in complaint.splitlines() if line.strip()), "no reason given")
            raise Unavailable(f"the firewall refuses a change: {first}", kind="firewall", reason="NFT_FAILED")
        return (self._library.nft_ctx_get_output_buffer(self._context) or b"").decode()

    def close(self) -> None:
        """Frees the context."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
