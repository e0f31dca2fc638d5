"""Measures what searches and answers are worth, through a running platform, against the bars."""
