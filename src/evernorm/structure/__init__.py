"""Where the parts of an image are: label maps for structure-based contrastive learning (UCAD section 3.3)."""
