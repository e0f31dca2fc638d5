"""PostgreSQL, protobuf and the file system, on the far side of the domain."""
