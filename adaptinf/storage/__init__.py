"""Files: Parquet, .npy, JSON, and folders that are written whole."""
