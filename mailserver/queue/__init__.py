"""The durable queue and its manager."""
