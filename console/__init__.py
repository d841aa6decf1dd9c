"""What all commands share, and the commands for keys, the directory and a registry."""
