"""The verbs of `tandem`, by what they are about."""
