"""Checks: the whole journal replayed, apart from the engine that wrote it."""
