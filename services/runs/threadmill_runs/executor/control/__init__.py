"""The executor's link to the runs api: slots and heartbeats up, assignments and cancels down."""
