"""The HTTP service of `make serve`."""
