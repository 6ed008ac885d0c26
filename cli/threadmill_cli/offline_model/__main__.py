"""Command line: `python -m threadmill_cli.offline_model --host 127.0.0.1 --port 9010`."""

from __future__ import annotations

import argparse
import os

import uvicorn

from threadmill_cli.offline_model.app import create_app

DELAY_VARIABLE = "OFFLINE_MODEL_TOKEN_DELAY_SECONDS"


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="offline_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9010)
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args()
    delay_seconds = float(os.environ.get(DELAY_VARIABLE, "0"))
    app = create_app(token_delay_seconds=delay_seconds)
    uvicorn.run(app, host=options.host, port=options.port, log_level=options.log_level)


if __name__ == "__main__":
    main()
