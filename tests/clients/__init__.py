"""Real mail clients against a real server process, with TLS that they verify."""
