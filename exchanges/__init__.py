"""The exchanges: contract.py and one folder per venue. Imports nothing, so that a venue's programs stay light."""
