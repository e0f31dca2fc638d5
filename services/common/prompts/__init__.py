"""The prompt of an answer: its words, and how they are packed; the same for who serves and who trains."""
