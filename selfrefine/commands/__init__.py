"""The commands of `selfrefine`, one file each.

A module has `SUMMARY`, `add_arguments(parser)` and `run(args)`, which returns the exit code. Heavy
packages are imported inside `run`, so that `selfrefine --help` is instant.
"""
