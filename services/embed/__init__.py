"""Turns changed documents into passages in the index, and texts into vectors."""
