"""A bank as one graph, which runs where evernorm is not installed."""
