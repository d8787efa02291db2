"""Disk work: what makes it durable, the thread that writes, and the threads where the rest runs."""
