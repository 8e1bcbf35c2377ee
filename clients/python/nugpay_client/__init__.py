"""NUG Pay client."""
