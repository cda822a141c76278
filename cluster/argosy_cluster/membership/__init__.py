"""Who is in the cluster and alive: the registry of nodes, sessions, and a daemon's own membership."""
