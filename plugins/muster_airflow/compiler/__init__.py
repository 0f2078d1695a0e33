"""Turns a definition into an Airflow Dag: deterministic to the byte."""

from muster_airflow.compiler.dag import build_dag

__all__ = ["build_dag"]
