"""Protobuf and PostgreSQL, on the far side of the domain."""
