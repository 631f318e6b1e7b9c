"""What is remembered of a class: selection, search, budget."""
