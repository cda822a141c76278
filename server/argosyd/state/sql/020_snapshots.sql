-- One row a snapshot, written before its directory is made.
CREATE TABLE snapshots (
    key    TEXT PRIMARY KEY,                 -- chain id, or the name its maker gave it
    number INTEGER NOT NULL UNIQUE,          -- its directory
    parent TEXT NOT NULL,                    -- key of the committed snapshot below; '' for none
    kind   TEXT NOT NULL CHECK (kind IN ('making', 'committed', 'active', 'removing')),
    boot   TEXT NOT NULL                     -- boot in which it was filled, until it is known to be on disk: then ''
) STRICT;
