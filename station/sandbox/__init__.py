"""How does a train's code run at a hospital without being trusted? See ``docs/design.md``, sandbox (attack T19)."""
