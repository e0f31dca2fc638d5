"""From a text with known structure to passages of a size that the model can read."""
