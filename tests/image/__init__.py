"""The image, built for real and run: `python -m tests.image`."""
