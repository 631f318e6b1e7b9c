"""Continual visual anomaly detection that never forgets a product class."""

__version__ = "0.1.0"
