"""One module a DVC stage, and their names in order; nothing is imported here."""

STAGES = ("masks", "prompts", "knowledge", "weibull", "features", "evaluate")
BUILT = STAGES[:-1]
"""Those that need no other class, where states are independent."""
