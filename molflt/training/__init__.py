"""Fit a model: task, losses, metrics, schedules."""
