"""The cluster's state behind one narrow door with etcd's semantics."""
