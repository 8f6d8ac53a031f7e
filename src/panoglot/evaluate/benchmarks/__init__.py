"""Benchmarks: a file each, over the metrics. Each declares its options, the files that it takes and where they are.

Nothing is downloaded: a missing file is an error that says where to get it. See `panoglot.evaluate.Benchmark` and
docs/add-a-benchmark.md.
"""
