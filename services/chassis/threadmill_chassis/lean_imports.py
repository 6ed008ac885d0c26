"""Leaves out what a process would import and never use."""

import sys


def leave_out(module: str) -> None:
    """Makes the module look as if it were not installed. To be called before anything that would import it."""
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # the documented way to halt an import
