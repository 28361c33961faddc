"""What Hydra's speed goals are measured by: `make bench`, or `python -m benchmarks --help`."""
