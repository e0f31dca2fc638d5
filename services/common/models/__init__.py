"""Language models as folders."""
