"""What a search asks, and how what its two legs hit becomes passages."""
