"""Tests of mailserver.auth."""
