"""Bybit V5 as the simulated exchange answers it. Accounts, orders, /v5/private and /v5/trade: PRIVATE.md."""
