"""Mail in bulk: into accounts from files and other servers, and out of them."""
