"""A real server on a queue of many messages: `make queue-large`, and a smaller form among the tests."""
