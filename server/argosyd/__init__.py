"""The engine and the daemon of one host."""

import os

# gRPC would end its threads around each fork(2) and start them anew, which fails just when no process can be started.
# What the daemon forks runs another program at once. It is read when grpc is loaded.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
