"""Mailboxes of other users: who may see what (RFC 4314), and an account that sees them."""
