"""A train's whole route on one machine, before anyone else sees it."""
