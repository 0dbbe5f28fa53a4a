"""What a model has learned: arrays, and plots that take arrays."""
