"""The front door: authenticates callers, answers questions, and passes admin calls on."""
