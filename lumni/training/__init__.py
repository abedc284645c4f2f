"""Trains the classifier that Lumni ships. Needs scikit-learn, which nothing else of Lumni does."""
