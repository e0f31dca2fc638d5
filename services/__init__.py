"""Tandem's services: each a folder, run as `python -m services.NAME`."""
