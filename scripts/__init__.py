"""Scripts of the project: generated pages and tables, a comparison of outputs, pre-training of the tiny models."""
