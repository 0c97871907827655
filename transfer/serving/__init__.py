"""The finished model outside the pipeline: predictions, similar images, exports."""
