"""Train the head and fine-tune the base."""
