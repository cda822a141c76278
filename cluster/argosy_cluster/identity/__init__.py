"""Who is who: join tokens, the cluster's CA, nodes' certificates and their renewal.

Modules that import `cryptography` (20 MB of memory) are `ca` and those that import it; a daemon loads them when it
becomes or starts as a member.
"""
