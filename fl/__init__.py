"""What both sides of the federation share."""
