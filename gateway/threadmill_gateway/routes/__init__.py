"""Handlers by area. Each module ends with its table of endpoints, which serves routing and OpenAPI alike."""
