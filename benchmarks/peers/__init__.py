"""One module a backtester. Each has `VERSION_OF` and `prepare`, see `benchmarks.workload`."""
