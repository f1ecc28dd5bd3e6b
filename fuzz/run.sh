#!/usr/bin/env bash
# Runs a fuzz target: fuzz/run.sh TARGET SECONDS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -eq 2 ] || { echo "usage: fuzz/run.sh TARGET SECONDS" >&2; exit 2; }
mkdir -p "fuzz/corpus/$1"
cargo fuzz run --sanitizer none "$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -- -max_total_time="$2" -max_len=16384 -print_final_stats=1
