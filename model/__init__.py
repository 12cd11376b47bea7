"""The vocabulary that every package shares: records, ports, pure arithmetic. Imports nothing of ours."""
