"""What is told of runs, to whom, and in what words. Pure: it is sent elsewhere."""
