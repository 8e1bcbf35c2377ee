"""Parquet: the journal as files, and back."""
