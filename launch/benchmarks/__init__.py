"""The parts of `launch/benchmark.py`: workers of both frameworks, and floors."""
