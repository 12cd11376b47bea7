"""The schema of what a collector sends and takes: AsyncAPI 3 with JSON Schema, made of the types that it is made of."""
