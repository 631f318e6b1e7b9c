"""MLflow: runs, registry, gate, promotions."""
