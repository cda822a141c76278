-- Images by id (the digest of their config). Blobs and snapshots lie outside; `record` is JSON of images.model.Image.
CREATE TABLE images (
    id     TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- Names: 'docker.io/library/busybox:1.36' (a tag) or 'docker.io/library/busybox@sha256:…' (a digest seen in a registry).
CREATE TABLE image_names (
    name     TEXT PRIMARY KEY,
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX image_names_by_image ON image_names (image_id);

-- Layers packed for a push, so that the next one need not pack again.
CREATE TABLE packed_layers (
    digest TEXT PRIMARY KEY,   -- of the unpacked blob
    packed TEXT NOT NULL,      -- of the packed one
    size   INTEGER NOT NULL
) STRICT;

-- What each layer takes unpacked, so that an image's size is known without walking it.
CREATE TABLE layer_sizes (
    diff_id TEXT PRIMARY KEY,
    size    INTEGER NOT NULL   -- bytes of file content
) STRICT;
