"""Whole programs on the reference: from data to a trained model that is used."""
