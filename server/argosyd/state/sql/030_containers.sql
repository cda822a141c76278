-- What each container was asked to be (definition) and what was last seen or begun (state), as JSON.
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    definition TEXT NOT NULL,
    state TEXT NOT NULL
);
