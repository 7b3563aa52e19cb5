#!/usr/bin/env bash
# Checks training on this machine's graphics card, and measures its pace by batch size beside PyTorch: `ok` and `FAILED`
# lines and a Markdown table on stdout. It ends within 6 minutes, with the rows that were measured by then, and with exit
# code 1 where a check failed. With --small it takes less than 2 minutes on an adapter of software, without PyTorch.
#
#   benches/measure/gpu.sh [--small] [--device gpu:N] [--peers cuda|cpu|none] [--batches N,N,…]
#
# BURNREC_GPU_BENCH names a built example `gpu_pace`, for a machine without a compiler; without it the example is built
# here, which is not part of the 6 minutes. PYTHON names an interpreter with PyTorch for CUDA; by default it is python3.
# Without PyTorch the table has no figures of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BURNREC_PEERS="$PWD/benches/peers"

program=${BURNREC_GPU_BENCH:-}
if [ -z "$program" ]; then
    cargo build --release --example gpu_pace >&2
    program=${CARGO_TARGET_DIR:-target}/release/examples/gpu_pace
fi
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >&2 || true
fi
timeout 355 "$program" "$@"
