"""`python -m threadmill_runs.executor`."""

from threadmill_runs.executor.main import main

main()
