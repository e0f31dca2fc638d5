"""What the gateway knows without any server: keys, questions, assistants, and what supports an answer."""
