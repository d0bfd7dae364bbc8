"""The guarded loop: begin, resume, step, checkpoint, halt."""
