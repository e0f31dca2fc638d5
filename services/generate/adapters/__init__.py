"""The engines, the model's files and the adapters' files behind the ports."""
