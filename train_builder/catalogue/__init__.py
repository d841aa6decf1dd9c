"""What data the stations of a consortium say they have, beside each other."""
