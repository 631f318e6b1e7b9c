"""What is said of a class, as features: read once, when the class is learned."""
