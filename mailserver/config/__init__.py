"""The configuration: `schema` says what there is, `load` reads it, `watch` keeps it current."""
