"""ssh://: the system's ssh runs `argosy system dial-stdio` over there, which joins its stdio to the socket."""

from __future__ import annotations

import shlex
import socket
import subprocess

from argosy.transport.address import Address


def dial(address: Address) -> socket.socket:
    """A stream through ssh; keys, agents, jumps and host keys are what ~/.ssh/config says."""
    ours, theirs = socket.socketpair()
    try:
        # ssh outlives this call and ends with the stream.
        subprocess.Popen(command(address), stdin=theirs.fileno(), stdout=theirs.fileno(), start_new_session=True)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours


def command(address: Address) -> list[str]:
    """The ssh command line for an address."""
    line = ["ssh", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-T"]
    if address.user:
        line += ["-l", address.user]
    if address.port:
        line += ["-p", str(address.port)]
    line += ["--", address.host, "argosy"]
    if address.path:
        # The far shell reads the line anew.
        line += ["--host", shlex.quote(f"unix://{address.path}")]
    return [*line, "system", "dial-stdio"]
