"""A day in the life of the real queue, in simulated time: `make queue-life`; a short form is in the suite."""
