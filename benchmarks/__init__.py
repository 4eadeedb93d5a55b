"""Scripts that measure time and memory; run one with `python -m benchmarks.<name>`. Their results are in `results/`."""
