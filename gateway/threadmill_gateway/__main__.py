"""`python -m threadmill_gateway`."""

from threadmill_gateway.main import main

if __name__ == "__main__":
    main()
