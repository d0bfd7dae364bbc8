"""What a training is logged by: CSV, TensorBoard, MLflow, Weights & Biases. Released quantities only."""
