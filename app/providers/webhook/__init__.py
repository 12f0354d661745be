"""Sending by a signed webhook to the operator's own program (Standard Webhooks)."""
