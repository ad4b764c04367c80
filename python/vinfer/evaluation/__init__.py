"""Quality figures: a detector against COCO annotations, events against true events."""
