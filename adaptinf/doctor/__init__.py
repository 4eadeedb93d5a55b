"""Checks before hours are spent: machine, model, dataset, one sample."""
