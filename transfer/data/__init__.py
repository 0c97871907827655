"""The images on disk: files as they were downloaded, arrays of pixels, and batches."""
