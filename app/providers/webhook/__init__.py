"""The way out by a signed webhook to a program of the operator (Standard Webhooks)."""
