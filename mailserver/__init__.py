"""A whole mail server on Twisted: submit, relay, deliver, retrieve."""

__version__ = "0.1.0"
