-- One row a volume, written before its directory is made. `record` is the Volume as JSON.
CREATE TABLE volumes (
    name   TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    state  TEXT NOT NULL CHECK (state IN ('making', 'ready', 'filling', 'removing'))
) STRICT;
-- Which containers have which volumes; written before the container is told where the volume is.
CREATE TABLE volume_uses (
    volume    TEXT NOT NULL REFERENCES volumes (name) ON DELETE CASCADE,
    container TEXT NOT NULL,
    target    TEXT NOT NULL,
    PRIMARY KEY (volume, container, target)
) STRICT;
