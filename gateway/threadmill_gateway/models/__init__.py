"""Pydantic models of request bodies, by area, and of answers (for OpenAPI only)."""
