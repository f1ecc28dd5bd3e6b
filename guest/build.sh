#!/usr/bin/env bash
# Builds guest/guest.wasm from guest/runtime, and guest/typescript.wasm from guest/typescript, and writes
# guest/guest.toml beside them: the hash of every source that went in, the toolchain, the sizes.
#
#   guest/build.sh           build, and replace both and guest.toml
#   guest/build.sh --check   compare the sources and both with guest.toml; builds nothing
#   guest/build.sh --verify  build, and compare the results with both byte for byte
#
# npm brings the packages in runtime/js. Two toolchains will do:
#  - Debian's packages: rustc-web cargo-web rust-web-src clang-19 lld-19 llvm-19 libclang-19-dev
#    libclang-rt-19-dev-wasm32 wasi-libc
#  - rustup with `rustup target add wasm32-wasip1`, and a WASI SDK whose folder WASI_SDK names
# The committed artifact comes from Debian's; another one gives other bytes of the same behaviour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Of each crate: the stack in its memory, and the package that is patched beside it.
declare -A STACK_BYTES=([runtime]=3145728 [typescript]=4194304)
declare -A PATCHED=([runtime]=rquickjs-sys [typescript]=swc_ts_fast_strip)
# What each becomes.
declare -A ARTIFACT=([runtime]=guest.wasm [typescript]=typescript.wasm)
CRATES=(runtime typescript)

die() { echo "guest/build.sh: $*" >&2; exit 1; }

# The sources, as `sha256sum` lines in a fixed order; their hash is the stamp.
sources() {
  { find {runtime,typescript}/{src,patches} runtime/js -type f -not -path '*/node_modules/*'; ls {runtime,typescript}/Cargo.{toml,lock}; echo build.sh; } |
    LC_ALL=C sort | xargs sha256sum
}
sources_hash() { sources | sha256sum | cut -d' ' -f1; }
stamped() { sed -n "s/^$1 = \"\\{0,1\\}\\([^\"]*\\)\"\\{0,1\\}$/\\1/p" guest.toml; }

check() {
  [ -f guest.toml ] || die "guest.toml is missing: run guest/build.sh"
  [ "$(sources_hash)" = "$(stamped sources_sha256)" ] ||
    die "the sources are not those guest.wasm and typescript.wasm were built from: run guest/build.sh"
  [ "$(sha256sum guest.wasm | cut -d' ' -f1)" = "$(stamped wasm_sha256)" ] ||
    die "guest.wasm is not the artifact that guest.toml describes: run guest/build.sh"
  [ "$(sha256sum typescript.wasm | cut -d' ' -f1)" = "$(stamped typescript_sha256)" ] ||
    die "typescript.wasm is not the artifact that guest.toml describes: run guest/build.sh"
  echo "guest.wasm and typescript.wasm match their sources and their stamp"
}

# Chooses the toolchain for a crate: sets the environment that cargo and the C compiler need, and $toolchain.
choose_toolchain() {
  local flags="-C target-feature=+bulk-memory -C link-arg=-zstack-size=${STACK_BYTES[$1]}"
  if [ -x /usr/bin/rustc ] && [ -d /usr/lib/rustlib/src/rust ]; then
    local tool missing=()
    for tool in cargo clang-19 wasm-ld-19 llvm-ar-19 patch; do command -v $tool >/dev/null || missing+=("$tool"); done
    [ -f /usr/lib/wasm32-wasi/libc.a ] || missing+=(wasi-libc)
    [ ${#missing[@]} -eq 0 ] || die "missing: ${missing[*]} (install the Debian packages named at the top of this script)"
    export PATH=/usr/bin:$PATH RUSTC_BOOTSTRAP=1 RQUICKJS_SYS_NO_WASI_SDK=1
    export LIBCLANG_PATH=/usr/lib/llvm-19/lib
    export CC_wasm32_wasip1=clang-19 AR_wasm32_wasip1=llvm-ar-19
    local c_flags="--target=wasm32-wasi -isystem /usr/include/wasm32-wasi"
    export CFLAGS_wasm32_wasip1="$c_flags --sysroot=/usr -ffile-prefix-map=$build_dir=/guest"
    export BINDGEN_EXTRA_CLANG_ARGS_wasm32_wasip1="$c_flags -fvisibility=default"
    export CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19
    flags="$flags -C link-self-contained=no -L native=/usr/lib/wasm32-wasi"
    cargo_flags=(-Zbuild-std=std,panic_abort)
    toolchain="$(rustc --version); $(clang-19 --version | head -n1); wasi-libc $(dpkg-query -W -f '${Version}' wasi-libc)"
  elif command -v rustup >/dev/null && rustup target list --installed | grep -qx wasm32-wasip1 && [ -d "${WASI_SDK:-}" ]; then
    export WASI_SDK
    export BINDGEN_EXTRA_CLANG_ARGS_wasm32_wasip1="--sysroot=$WASI_SDK/share/wasi-sysroot -fvisibility=default"
    cargo_flags=()
    toolchain="$(rustc --version); WASI SDK $(head -n1 "$WASI_SDK/VERSION" 2>/dev/null || echo unknown)"
  else
    die "no toolchain for wasm32-wasip1: either install Debian's packages or set up rustup and WASI_SDK; both are described at the top of this script"
  fi
  local cargo_home=${CARGO_HOME:-$HOME/.cargo}
  flags="$flags --remap-path-prefix=$build_dir=/guest --remap-path-prefix=$cargo_home=/cargo"
  flags="$flags --remap-path-prefix=$(rustc --print sysroot)=/rust"
  export CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="$flags"
}

# Copies a crate's sources to the build folder, with the package patched beside them.
prepare() {
  local crate=$1 patched=${PATCHED[$1]}
  mkdir -p "$build_dir"
  rm -rf "${build_dir:?}"/{src,Cargo.toml,Cargo.lock,$patched}
  cp -R "$crate"/src "$crate"/Cargo.toml "$crate"/Cargo.lock "$build_dir"
  cargo fetch --quiet --locked --manifest-path "$crate"/Cargo.toml
  local manifest
  manifest=$(cargo metadata --format-version 1 --locked --offline --manifest-path "$crate"/Cargo.toml |
    tr '{},' '\n' | sed -n "s/^\"manifest_path\":\"\\(.*\\/$patched-[0-9.]*\\/Cargo.toml\\)\"$/\\1/p" | head -n1)
  [ -f "$manifest" ] || die "cargo does not say where the sources of $patched are"
  cp -R "$(dirname "$manifest")" "$build_dir/$patched"
  local patch
  for patch in "$crate"/patches/*.patch; do
    patch --quiet --directory "$build_dir/$patched" -p1 < "$patch" ||
      die "$patch does not apply: has the version of $patched changed?"
  done
}

# Bundles the packages that are built into the guest, each entry of runtime/js a file of its own.
bundle() {
  command -v npm >/dev/null || die "missing: npm, for the packages in runtime/js"
  rm -rf "${build_dir:?}/js"
  cp -R runtime/js "$build_dir"
  (cd "$build_dir/js" && npm ci --ignore-scripts --no-audit --no-fund --silent &&
    node_modules/.bin/esbuild ./*.js --bundle --minify --format=cjs --target=es2023 \
      --legal-comments=inline --log-level=warning --outdir="$build_dir/src/bundled")
}

# Builds a crate; its artifact is $built.
build() {
  local crate=$1 patched=${PATCHED[$1]}
  build_dir=$PWD/$crate/target/build
  choose_toolchain "$crate"
  prepare "$crate"
  [ "$crate" != runtime ] || bundle
  (cd "$build_dir" && cargo build --release --target wasm32-wasip1 "${cargo_flags[@]}" \
    --config "patch.crates-io.$patched.path=\"$patched\"" --target-dir "$build_dir/target")
  built=$build_dir/target/wasm32-wasip1/release/vm_guest_$crate.wasm
}

replace() {
  local crate
  for crate in "${CRATES[@]}"; do
    build "$crate"
    cp "$built" "${ARTIFACT[$crate]}"
    echo "${ARTIFACT[$crate]}: $(stat -c %s "$built") bytes"
  done
  stamp
}

verify() {
  local crate
  for crate in "${CRATES[@]}"; do
    build "$crate"
    cmp "$built" "${ARTIFACT[$crate]}" || die "what is rebuilt differs from ${ARTIFACT[$crate]}"
    echo "${ARTIFACT[$crate]} is reproducible"
  done
}

stamp() {
  cat > guest.toml <<EOF
# Written by build.sh: what guest.wasm and typescript.wasm were built from. Not to be edited.
sources_sha256 = "$(sources_hash)"
wasm_sha256 = "$(sha256sum guest.wasm | cut -d' ' -f1)"
size_bytes = $(stat -c %s guest.wasm)
typescript_sha256 = "$(sha256sum typescript.wasm | cut -d' ' -f1)"
typescript_size_bytes = $(stat -c %s typescript.wasm)
toolchain = "$toolchain"

# The hash of each source.
[sources]
$(sources | sed 's/^\([0-9a-f]*\)  \(.*\)$/"\2" = "\1"/')
EOF
}

case "${1:-}" in
  "") replace ;;
  --check) check ;;
  --verify) verify ;;
  *) die "usage: guest/build.sh [--check|--verify]" ;;
esac
