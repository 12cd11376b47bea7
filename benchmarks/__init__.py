"""The benchmarks; README.md has what is measured, and how. Nothing of the collector imports the package."""
