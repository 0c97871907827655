"""The trained model at work outside the pipeline."""
