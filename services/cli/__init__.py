"""The `tandem` command, and the supervisor that runs the platform on one machine."""
