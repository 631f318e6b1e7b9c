"""Floor 3: what runs, when, on which workers."""
