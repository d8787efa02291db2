"""DNS questions: dnspython messages over Twisted transports."""
