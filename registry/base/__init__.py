"""How does a base image get into a registry, and from there to a station?"""
