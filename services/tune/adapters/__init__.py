"""Protobuf, PostgreSQL, the services that are asked, and the process that trains, on the far side of the domain."""
