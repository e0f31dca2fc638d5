"""LoRA adapters as files: what makes them ones that an engine can run; shared by who makes and who loads them."""
