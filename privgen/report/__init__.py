"""Reports: one audit (`accountant.audit.audit.Audit`), or one claim, in several formats."""
