"""How commands show what they know: tables, templates, JSON, progress."""
