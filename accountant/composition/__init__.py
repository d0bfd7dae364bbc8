"""From events to (ε, δ): Rényi curves, their conversion, and numerical composition of privacy losses."""
