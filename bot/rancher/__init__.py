"""Rancher over HTTP: the management API, and the catalog API of downstream clusters."""

from bot.rancher.adapter import RancherAdapter

__all__ = ["RancherAdapter"]
