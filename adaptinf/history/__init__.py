"""What happened to a sample and to a selection, read from a run's tables."""
