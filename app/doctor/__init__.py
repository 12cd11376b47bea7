"""`python main.py doctor`: a checklist of what a collector with these settings needs, with a cure for each red line.

Changes nothing: no file stays, nothing is published, no server is started. Ends in time whatever hangs.
"""
