"""gRPC between daemons: mutual TLS from the cluster's CA, and who may call what."""
