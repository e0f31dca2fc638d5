"""Measures the platform beside references that run in the same minutes on the same machine."""
