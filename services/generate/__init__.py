"""Writes answers with a language model, and keeps the adapters that tune it."""
