"""Kubernetes API servers and the controllers behind them."""
