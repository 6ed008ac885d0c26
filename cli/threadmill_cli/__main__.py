"""`python -m threadmill_cli` is the `threadmill` command."""

from threadmill_cli.main import main

if __name__ == "__main__":
    main(prog_name="threadmill")
