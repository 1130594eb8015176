"""The complete routine for training a model in PyTorch: one small package behind every notebook of the course."""

__version__ = "0.1.0"
