"""How answers of the platform look to people."""
