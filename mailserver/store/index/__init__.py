"""The index of an account: its database, tables and rows."""
