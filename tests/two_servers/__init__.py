"""Two real servers and a DNS server of the tests' own between them."""
