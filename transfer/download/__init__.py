"""Download images and pretrained weights, or draw a sample of images."""
