"""A whole route on one machine, before anybody else sees the train."""
