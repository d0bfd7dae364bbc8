"""Private training of any PyTorch model: `PrivateTraining`, and what stands behind it.

    from privgen import PrivateTraining

    training = PrivateTraining(model, optimizer, dataset, loss=lambda model, record: ..., out="runs/mine",
                               epsilon=3.0, delta=1e-5, batch_size=1024, steps=2000)
    for report in training:
        print(report.step, report.epsilon_spent)

The loop is the one of `privgen train`: guard, ledger, exact noise, checkpoints, audit. docs/library.md says what is
promised of it and what stays on trust.
"""
