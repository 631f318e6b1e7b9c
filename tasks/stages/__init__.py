"""One module a DVC stage, and their names in order; nothing is imported here."""

STAGES = ("masks", "prompts", "knowledge", "weibull", "features", "evaluate")
