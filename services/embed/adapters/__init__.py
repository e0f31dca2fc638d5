"""The technologies behind the ports of `embed`."""
