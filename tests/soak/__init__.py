"""Ten minutes of two hundred clients: `make soak`."""
