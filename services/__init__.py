"""Tandem's services: each a folder, run as `python -m services.NAME`."""

import os

# gRPC reads it as it begins. Its handlers of fork start threads in the child, which now and then crash it before it
# has become another program (grpc/grpc#43055); nothing here forks to do anything else.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
