"""What a train.yaml says."""
