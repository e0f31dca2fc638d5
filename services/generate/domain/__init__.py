"""What an answer is made of: the prompt, how tokens are drawn, the adapters, and what can go wrong."""
