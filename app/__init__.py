"""Roomcast: pushes chat messages to the people who answer them."""

__version__ = "0.1.0"
