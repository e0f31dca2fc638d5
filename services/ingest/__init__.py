"""Owns sources and the manifest of their documents; records every change before it acknowledges it."""
