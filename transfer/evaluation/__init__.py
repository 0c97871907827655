"""What the trained model predicts, and how good its predictions are."""
