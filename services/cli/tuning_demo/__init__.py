"""The loop from ratings to a better model, shown on a company that no model can know."""
