"""What the chapters 2, 3, 7 and 8 count and compare; its modules are its face."""
