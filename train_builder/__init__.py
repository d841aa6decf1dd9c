"""From a scientist's folder to a train on the rails, and back."""
