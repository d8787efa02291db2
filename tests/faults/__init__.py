"""Every system call fails, once and for long; the power goes out. What was promised is kept."""
