"""Benchmarks: this server beside Postfix and Dovecot, in one run, as ratios. `make bench` runs them."""
