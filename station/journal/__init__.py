"""What has happened at a station, in order, for good."""
