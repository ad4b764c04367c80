"""What a person looks at: the annotated video and the report page (docs/report.md)."""
