"""Scripts of the project: pages, tables, tiny models."""
