"""The grammar of IMAP: a command's octets to its value (RFC 3501, 9)."""
