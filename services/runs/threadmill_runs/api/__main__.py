"""`python -m threadmill_runs.api`."""

from threadmill_runs.api.main import main

main()
