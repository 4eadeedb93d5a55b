"""Files on disk: Parquet tables, .npy arrays, JSON, and folders that are complete or absent."""
