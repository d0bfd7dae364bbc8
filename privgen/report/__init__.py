"""Reports: one summary object (`accountant.audit.audit.Audit`) in several formats."""
