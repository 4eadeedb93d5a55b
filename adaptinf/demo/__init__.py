"""The demo and the built-in benchmarks: small streams of instruction datasets, and tiny pre-trained models."""
