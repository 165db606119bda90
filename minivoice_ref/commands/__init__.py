"""The commands of the command line, one file each.

Each module has `SUMMARY` (one line), `add_arguments(parser)` and `run(arguments)`, which prints and
returns the exit code: 0 good, 1 a verdict of failure. What a user got wrong is raised as
`UsageError` or `ConfigError`; `cli.main` turns both into exit code 2. The work is done elsewhere.
"""
