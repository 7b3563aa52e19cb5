#!/usr/bin/env bash
# Checks training on this machine's graphics card, and measures it: the pace by batch size beside PyTorch, the best items of
# all users, the time of each kernel, and ALS beside the CPU. `ok` and `FAILED` lines and Markdown tables on stdout. It ends
# within 6 minutes, with what was measured by then, and with exit code 1 where a check failed. With --small it takes about
# two minutes on an adapter of software, without PyTorch.
#
#   benches/measure/gpu.sh [--small] [--device gpu:N] [--peers cuda|cpu|none] [--batches N,N,…] [--seconds N]
#
# BURNREC_GPU_BENCH names a folder with the built examples `gpu_pace` and `gpu_als`, for a machine without a compiler;
# without it they are built here, which is not part of the 6 minutes. PYTHON names an interpreter with PyTorch for CUDA; by
# default it is python3. Without PyTorch the table has no figures of it. --seconds are those of `gpu_pace`.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BURNREC_PEERS="$PWD/benches/peers"

programs=${BURNREC_GPU_BENCH:-}
if [ -z "$programs" ]; then
    cargo build --release --example gpu_pace --example gpu_als >&2
    programs=${CARGO_TARGET_DIR:-target}/release/examples
fi
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >&2 || true
fi
als=()
set -- --seconds 285 "$@"
for at in $(seq 1 $#); do
    case ${!at} in
    --small) als+=(--small) ;;
    --device) next=$((at + 1)) && als+=(--device "${!next}") ;;
    esac
done
failed=0
timeout 300 "$programs/gpu_pace" "$@" || failed=1
echo
timeout 55 "$programs/gpu_als" ${als[@]+"${als[@]}"} || failed=1
exit $failed
