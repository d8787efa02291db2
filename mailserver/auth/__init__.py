"""Passwords, users, and the one cred portal."""
