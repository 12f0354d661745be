"""Baileys: events posted by a bot."""
