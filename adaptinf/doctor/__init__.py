"""Checks before a long run: machine, model, dataset, one sample."""
