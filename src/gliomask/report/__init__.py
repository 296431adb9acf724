"""What people read: volumes, pictures, run records."""
