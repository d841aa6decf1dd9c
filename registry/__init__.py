"""How a train is named, stored and carried in an OCI registry."""
