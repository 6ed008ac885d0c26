"""Fixtures of the gateway's tests."""

from .gateway_script import client, gateway, live, script, services, settings

__all__ = ["client", "gateway", "live", "script", "services", "settings"]
