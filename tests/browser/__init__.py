"""The status page in a real Chromium, beside real pollers."""
