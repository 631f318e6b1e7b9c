"""What a score means: Weibull tails, probabilities, thresholds."""
