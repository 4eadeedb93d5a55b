"""Work on arrays: seeded draws, exact shares of a budget, large arrays by blocks, near-duplicates."""
