"""Configuration of an experiment, as typed values: one module per section of the YAML files."""
