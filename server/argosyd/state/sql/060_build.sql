-- Finished steps by what they were made from: `key` is a digest of everything a step reads.
CREATE TABLE build_cache (
    key         TEXT PRIMARY KEY,
    parent      TEXT NOT NULL,     -- chain id below; '' for none
    chain       TEXT NOT NULL,     -- chain id with this step's layer
    layer       TEXT NOT NULL,     -- NewLayer as JSON; '' when the step changed nothing
    instruction TEXT NOT NULL,
    created     INTEGER NOT NULL,
    last_used   INTEGER NOT NULL
) STRICT;
-- Builds under way: what a crash leaves of them is found by this.
CREATE TABLE builds (id TEXT PRIMARY KEY) STRICT;
-- Snapshots that no step in the cache names (any more): removed once no image needs them either. A step's own is
-- here from before it gets its name until the step is recorded, so that a crash in between loses track of nothing.
CREATE TABLE build_garbage (chain TEXT PRIMARY KEY) STRICT;
