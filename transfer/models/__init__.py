"""The classifier: its backbone, its head, and how its frozen layers run."""
