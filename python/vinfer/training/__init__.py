"""Training of relation models (PyTorch, extra `train`); nothing of the engine imports it."""
