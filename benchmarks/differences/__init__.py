"""Measure what each difference between a method and its source costs or gains."""
