"""Containers' logs: reading, following and rotating what the monitors write."""
