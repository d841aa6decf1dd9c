"""The consortium's directory (TUF): who is who, and whose keys count."""
