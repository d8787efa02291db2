"""Tests of mailserver.config."""
