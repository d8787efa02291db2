"""The client: what hands mail to other servers, by SMTP or LMTP."""
