"""Measurements behind the figures of the documentation. Each runs by itself, see its --help."""
