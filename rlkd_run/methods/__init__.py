"""Base methods of knowledge distillation, one file each."""
