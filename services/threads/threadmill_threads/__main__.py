"""`python -m threadmill_threads`."""

from threadmill_threads.main import main

main()
