"""Executing one attempt of one run: from its assignment to its outcome."""
