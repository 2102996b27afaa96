"""What is remembered: vectors beside the texts they stand for, found by likeness."""
