"""The search index of an account: what its messages say, in a database of its own."""
