"""SMTP: server engine, client engine, policies, and their Twisted protocols."""
