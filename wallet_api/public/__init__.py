"""What anybody may read, without a signature."""
