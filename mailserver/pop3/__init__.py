"""POP3: engine and Twisted protocol."""
