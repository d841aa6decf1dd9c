"""What an operator asks of a station, apart from any command line."""
