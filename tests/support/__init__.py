"""What tests of several folders use: waiting, klines, the simulated exchange as a process, servers that misbehave."""
