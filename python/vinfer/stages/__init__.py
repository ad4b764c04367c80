"""Stages: one job each between a frame and its events; they do not know each other."""
