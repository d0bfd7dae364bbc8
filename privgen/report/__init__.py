"""Reports: one summary object (`accountant.audit.Audit`) in several formats."""
