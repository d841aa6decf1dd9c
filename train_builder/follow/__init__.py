"""From departure to the opened results."""
