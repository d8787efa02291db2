"""Sockets for the three protocols: one base connection, limits per address, listening, sending files."""
