//! Training and judging: learners, the epoch loop, metrics, run records
