"""What adapts a frozen backbone to a class: prompts and their training."""
