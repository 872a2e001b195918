"""What `fashionseg bench` runs, and comparisons with other tools (`fashionseg.benchmarks`)."""
