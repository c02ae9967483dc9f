"""The cost of requests to models: the budget, prices, rate limits and counters."""
