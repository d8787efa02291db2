"""Tests of mailserver.dns."""
