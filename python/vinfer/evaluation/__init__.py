"""Quality figures: a detector, relations and events against what is true."""
