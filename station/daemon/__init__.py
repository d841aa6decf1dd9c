"""The process that works on visits."""
