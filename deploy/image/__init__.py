"""Puts together what the image holds; runs in the Dockerfile's build stage, with the standard library alone."""
