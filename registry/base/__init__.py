"""Base images: into a registry, and out of it again."""
