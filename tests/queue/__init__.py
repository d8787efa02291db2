"""Tests of mailserver.queue."""
