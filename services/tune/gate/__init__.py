"""Measures a candidate against what is live, on the engine, and says by the tenant's rules whether it passes."""
