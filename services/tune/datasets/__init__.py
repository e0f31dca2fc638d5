"""Data sets: gathered, cleaned, split, reported, and kept under the digest of what they say."""
