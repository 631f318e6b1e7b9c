"""A workspace: Git, DVC, parameters, data."""
