#!/usr/bin/env bash
# Measures training pace by batch size on this machine's GPU, as a Markdown table on stdout. It ends within 8 minutes,
# with the rows that were measured by then.
#
#   benches/measure/gpu.sh [--device gpu:N] [--rows N] [--batches N,N,…]
#
# BURNREC_GPU_BENCH names a built example `gpu_batches`, for a machine without a compiler; without it the example is built
# here. PYTHON names an interpreter with PyTorch for CUDA, numpy, pandas and scipy; by default it is python3. Without
# PyTorch the table has no figures of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BURNREC_PEERS="$PWD/benches/peers"

program=${BURNREC_GPU_BENCH:-}
if [ -z "$program" ]; then
    cargo build --release --example gpu_batches >&2
    program=${CARGO_TARGET_DIR:-target}/release/examples/gpu_batches
fi
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >&2 || true
fi
timeout 470 "$program" "$@"
