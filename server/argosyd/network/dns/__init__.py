"""The resolver that containers on networks with names ask: RFC 1035, as far as it answers itself."""
