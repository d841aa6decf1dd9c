"""What a journey proves, and to whom."""
