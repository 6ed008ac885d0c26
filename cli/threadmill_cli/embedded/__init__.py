"""PostgreSQL and Redis from Python wheels, as children of `threadmill dev`: real servers, nothing to install."""
