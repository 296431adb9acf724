"""The paper's study as one command: a declared table of experiments, each cross-validated, compared and written up."""
