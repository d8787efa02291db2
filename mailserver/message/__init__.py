"""Internet messages as bytes: headers, structure, trace fields, reports."""
