"""Arrays: seeded draws, exact shares, blocks of large arrays, near-duplicates."""
