-- Facts about the engine itself, by name.
CREATE TABLE engine (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
