"""What is measured besides robust accuracy: the eps curve, corruptions, examples."""
