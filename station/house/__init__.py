"""What a station works with: its configuration, its folders and its ports."""
