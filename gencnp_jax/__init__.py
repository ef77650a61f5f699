"""GEN-CNP: generate the neural pathway that explains a prediction."""
