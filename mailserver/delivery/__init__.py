"""From an envelope to its targets: routes, local delivery, relay."""
