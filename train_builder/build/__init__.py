"""From a folder to a train on its way."""
