"""The one kind of failure that a user of the command sees: a sentence that names the thing and its remedy."""

import click


class CannotRun(click.ClickException):
    """Ends the command with exit code 1 and its message, without a traceback."""
