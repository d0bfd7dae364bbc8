"""What makes a sum private: Poisson sampling, error feedback, noise, and the one release function. Knows no model."""
