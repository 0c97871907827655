"""Where images and pretrained weights come from."""
