"""A virtual machine with Debian's own kernel and systemd as PID 1: what no namespace on this machine can show."""
