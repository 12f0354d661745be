"""Baileys: what a bot posts of its events."""
