"""Data sets that are tables: described by columns, cut down to what a train wants, and delivered in one form."""
