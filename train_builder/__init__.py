"""From a scientist's folder to a train under way, and back to its results."""
