"""What is measured, against whom, and how to repeat it: README.md. Nothing of the collector imports this room."""
