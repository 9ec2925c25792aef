"""What Crossfade costs, measured on the machine it runs on: `python -m benchmarks`, or `make bench`.

Nothing here asserts: it prints and keeps figures. Goals and results stand in docs/performance.md.
"""
