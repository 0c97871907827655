"""Transfer learning for image classification: what the pipeline's stages share."""
