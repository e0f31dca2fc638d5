"""The feedback service: what was asked and answered, and what people thought of it."""
