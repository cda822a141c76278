"""How a client reaches a daemon: unix://, tcp:// with mutual TLS, ssh://.

Two channels speak gRPC over it. `aio` is grpc.aio, for programs. `blocking` is for commands that live for
milliseconds: importing grpcio takes 90 ms, the whole of `blocking` 3. Both have the same four methods
(`argosy.client.rpc.Channel`), so that one SDK serves both.
"""
