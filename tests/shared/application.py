"""The application that the end-to-end and chaos tests serve."""

from pathlib import Path

APP = Path(__file__).parents[1] / "e2e" / "app" / "langgraph.json"

# Recovery is seen in seconds instead of a quarter of a minute.
SHORT_LEASES = {"THREADMILL_LEASE_SECONDS": "3", "THREADMILL_HEARTBEAT_SECONDS": "0.5"}
