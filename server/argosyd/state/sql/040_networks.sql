-- One row a network, written before its bridge is made; `record` is JSON of network.model.Network.
CREATE TABLE networks (
    id     TEXT PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    state  TEXT NOT NULL CHECK (state IN ('making', 'ready', 'removing'))
) STRICT;

-- One row a container that has a network namespace, written before the namespace is made;
-- `record` is JSON of network.store.Attached.
CREATE TABLE attachments (
    container_id TEXT PRIMARY KEY,
    record       TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('attaching', 'attached', 'detaching'))
) STRICT;
