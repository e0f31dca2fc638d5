"""Protobuf, PostgreSQL, the services asked and the process that trains, on the far side of the domain."""
