"""The steps that clean rows and ratings, each counted."""
