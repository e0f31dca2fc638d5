"""The small kernel that every service shares; it knows no service."""
