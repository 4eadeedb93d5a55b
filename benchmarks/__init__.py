"""Scripts that measure time and memory; run one with `python -m benchmarks.<name>`. Results lie in `results/`."""
