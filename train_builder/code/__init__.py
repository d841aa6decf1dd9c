"""What travels in a train, and whether it should."""
