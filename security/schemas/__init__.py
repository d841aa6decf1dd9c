"""What other implementations may expect: JSON Schemas (draft 2020-12) of everything that is signed or sealed."""
