"""What happens to one train at one stop: events, state and the table of steps."""
