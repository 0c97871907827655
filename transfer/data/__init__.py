"""The images on disk: as they were downloaded, as arrays of pixels, and in batches."""
