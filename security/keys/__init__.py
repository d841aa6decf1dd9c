"""Private and public keys: values, and the folder they lie in."""
