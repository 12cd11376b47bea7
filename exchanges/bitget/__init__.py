"""Bitget v2 (classic): spot, and linear contracts settled in USDT. Market data only."""
