"""What the trained model predicts, and how good that is."""
