"""The whole server attacked from outside: each module is a group of hostile inputs."""
