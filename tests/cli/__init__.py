"""Tests of the administrator's command."""
