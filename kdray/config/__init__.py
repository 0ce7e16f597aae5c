"""Configuration: what is computed (`Recipe`) and where and how wide (`Execution`).

Nothing here imports torch, ray or mlflow.
"""
