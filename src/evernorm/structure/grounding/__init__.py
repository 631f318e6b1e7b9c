"""Grounding DINO: boxes of what phrases name (MTRMB section 3.2), by either implementation of it."""
