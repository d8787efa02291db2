"""Accounts and mailboxes on disk and in memory."""
