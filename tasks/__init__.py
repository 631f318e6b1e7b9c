"""Floor 2: one module a DVC stage, and the Prefect tasks around them."""
