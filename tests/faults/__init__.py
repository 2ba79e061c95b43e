"""A campaign of faults: kills, damage, hostile files and hostile command lines.

`python -m tests.faults` runs the whole of it, `tests/test_faults.py` a sample.
"""
