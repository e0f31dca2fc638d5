"""The retrieve service: finds the passages that best answer a query, among those that the caller may read."""
