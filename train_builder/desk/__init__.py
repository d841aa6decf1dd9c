"""What a scientist asks, whatever they ask it with: a function takes values and returns values."""
