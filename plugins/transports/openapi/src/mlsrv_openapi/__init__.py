"""Live documentation."""
