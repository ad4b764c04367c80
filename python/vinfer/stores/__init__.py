"""Where results go: event lines, VidVRD predictions, a database (docs/stores.md)."""
