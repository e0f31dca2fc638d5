"""The tune service: rerankers trained from what a tenant has, measured, and put into use."""
