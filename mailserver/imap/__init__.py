"""IMAP: framing, grammar, engine, and Twisted protocol."""
