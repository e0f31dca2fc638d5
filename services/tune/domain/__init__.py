"""What rerankers learn from, what runs do, and when one is good enough."""
