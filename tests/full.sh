#!/usr/bin/env bash
# The long checks at their full size; `.ci/run` has each at a small one.
#
#   tests/full.sh CHECK [ARGUMENTS]
#
#   limit    CPU of an auction against its yardsticks (about 3 minutes a run, and a build)
#   dist     the same of what ships: .ci/dist builds it, which takes a quarter of an hour or more on two cores
#   latency  what gavel adds to its slowest bidder, at half of what this machine carries
#   reload   reloads and broken files under load, in chunks; goes on where it was interrupted. With a
#            City database of yours in GAVEL_CITY that one, too; GAVEL_STYLES chooses ways of writing
#   memory   a control group of 256 MiB and half a CPU under three times what it can do for a minute, and
#            under more bodies at once than it has memory; workers by CPU quotas
#   backlog  ten times the usual connects for five seconds, in a network namespace of its own
#   drain    twenty processes that end under load: nobody may be refused, reset or failed
#   fuzz     ten minutes of libFuzzer for each parser; goes on likewise
#   journal  10,000 lives on failing disks, each byte of 1 MiB flipped, each length of it, 100 kills,
#            and what the journal costs; in chunks; goes on where it was interrupted
#   events   events a second through the server, and how long an answer takes, beside the disk's own
#            time; on a machine that does nothing else
#   ledger   a report over a million events, and its memory
#   replay   the driver: a target that stalls for 1 s of 10 s, pacing at a receiver of its own, and the
#            memory of a million requests; on a machine that does nothing else
#   tokens   ten million altered tokens: none may be taken
#   kill     the server killed a hundred times under load: no answered event lost, none counted twice
#   broker   an hour without the broker (or as many as are said), compressed, and 50 replicas and brokers
#            killed under load
#   ssrf     hostile notices in a network where every address answers: root, and a minute
#   cold     `cargo demo` and the tests from a clone without anything built
#
# What a check has done is kept under target/full/, so that it can be stopped and started again;
# remove that folder to begin anew.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
done_in=$root/target/full
mkdir -p "$done_in"
export CARGO_TERM_COLOR=never

# Runs a chunk unless it has been done.
chunk() {
  local name=$1
  shift
  if [ -e "$done_in/$name" ]; then
    echo "== $name: done before"
    return
  fi
  echo "== $name"
  "$@"
  touch "$done_in/$name"
}

limit() {
  cargo bench --bench limit -- --seconds 3 --rounds 7 --overload "$@"
}

dist() {
  .ci/dist
  cargo bench --bench limit -- --seconds 3 --rounds 7 --gavel "$root/target/trained/gavel" "$@"
}

latency() {
  cargo build --release --workspace --quiet
  target/release/gavel-replay demo --rate "${1:-1500}" --for 30s --exit
}

reload() {
  cargo test --workspace --release --no-run --quiet
  local part
  for part in broken asking no_request each_way a_database a_large_database; do
    GAVEL_FULL=1 chunk "reload-$part" \
      cargo test --release --package gavel --test it --quiet -- --nocapture "reload::served::$part"
  done
}

memory() {
  GAVEL_FULL=1 cargo test --package gavel --test it --quiet -- --nocapture --test-threads 1 groups::
}

backlog() {
  GAVEL_FULL=1 cargo test --package gavel --test it --quiet -- --nocapture --test-threads 1 backlog::
}

drain() {
  GAVEL_FULL=1 cargo test --package gavel --test it --quiet -- --nocapture drain::
}

fuzz() {
  local flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
  flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
  flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
  flags+=" --cfg fuzzing -Cdebug-assertions -Coverflow-checks"
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  (cd fuzz && RUSTFLAGS=$flags cargo build --release --target "$host" \
    --target-dir "$root/target/fuzz")
  local target
  for target in request answer response coding rules forwarded agent capture journal; do
    mkdir -p "$done_in/corpus/$target"
    chunk "fuzz-$target" "$root/target/fuzz/$host/release/$target" -max_total_time="${1:-590}" \
      -rss_limit_mb=2000 -timeout=10 -max_len=65536 -print_final_stats=1 -verbosity=0 \
      "$done_in/corpus/$target"
  done
}

kill() {
  GAVEL_FULL=1 cargo test --package gavel --test it --quiet -- --nocapture events::kill
}

broker() {
  GAVEL_FULL=1 GAVEL_HOURS=${1:-1} cargo test --package gavel --test it --quiet -- --nocapture --test-threads=1 broker::
}

ssrf() {
  GAVEL_FULL=1 cargo test --package gavel --test it --quiet -- --nocapture ssrf::
}

tokens() {
  GAVEL_FULL=1 cargo test --release --package gavel --lib --quiet -- --nocapture no_mutation_of_a_token
}

journal() {
  cargo test --package gavel --release --no-run --quiet
  local it=(cargo test --release --package gavel --test it --quiet --)
  local part
  for part in 0 1 2 3; do
    GAVEL_FULL=1 GAVEL_SEEDS=2500 GAVEL_FROM=$((part * 2500 + 1)) chunk "journal-seeds-$part" \
      "${it[@]}" --nocapture journal::seeds
  done
  for part in 0 1 2 3 4 5 6 7; do
    GAVEL_FULL=1 GAVEL_PART=$part chunk "journal-damage-$part" \
      "${it[@]}" --nocapture journal::damage
  done
  GAVEL_FULL=1 chunk journal-kill "${it[@]}" --nocapture journal::kill
  chunk journal-bench cargo bench --bench journal
}

events() {
  cargo bench --bench events -- "$@"
}

ledger() {
  GAVEL_FULL=1 cargo test --package gavel --release --test it --quiet -- --nocapture ledger::
}

replay() {
  local it=(cargo test --release --package gavel-replay --test it --)
  GAVEL_FULL=1 chunk replay-stall "${it[@]}" --nocapture drive::a_server_that_stalls
  GAVEL_FULL=1 chunk replay-pacing "${it[@]}" --nocapture played::a_receiver_of_its_own
  GAVEL_FULL=1 chunk replay-memory "${it[@]}" --nocapture played::memory_does_not_grow
}

cold() {
  local clone
  clone=$(mktemp -d)
  trap 'rm -rf "$clone"' EXIT
  git clone --quiet "$root" "$clone/gavel"
  cd "$clone/gavel"
  time cargo demo --for 10s --exit
  time cargo test --workspace --quiet
}

case ${1:-} in
  limit | latency | reload | memory | backlog | drain | fuzz | journal | events | ledger | replay | tokens | kill | \
    broker | ssrf | cold | dist) "$@" ;;
  *)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
