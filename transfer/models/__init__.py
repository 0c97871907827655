"""The classifier: its backbone, its head, and the runtime of its frozen layers."""
