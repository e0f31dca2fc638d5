"""From the bytes of a file to its text with known structure."""
