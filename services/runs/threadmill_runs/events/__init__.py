"""Event streams: one ordered log per thread in Redis, and its fan-out to any number of watching clients."""
