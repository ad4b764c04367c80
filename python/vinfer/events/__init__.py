"""From scored triplets a frame to events with a start and an end (docs/events.md)."""
