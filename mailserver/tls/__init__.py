"""TLS: contexts for what is served and for what is connected to, and a certificate where there is none."""
