"""`python -m threadmill_threads`."""

from threadmill_chassis.lean_imports import leave_out

# structlog loads it where a developer's tools have brought it, to print tracebacks that we never print: 4 MB.
leave_out("rich")

from threadmill_threads.main import main  # noqa: E402 - after that

if __name__ == "__main__":
    main()
