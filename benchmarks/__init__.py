"""The benchmarks: each module has a `run` that measures Greenroom beside a named peer in one run."""
