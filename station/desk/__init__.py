"""What an operator asks of a station, whatever they ask it with: a function takes values and returns values."""
