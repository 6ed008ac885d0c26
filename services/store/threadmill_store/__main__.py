"""`python -m threadmill_store`."""

from threadmill_store.main import main

if __name__ == "__main__":
    main()
