//! The target of tests/hostile that has this binary's name, under libFuzzer.
#![no_main]

use std::sync::LazyLock;

use lienthong_hostile::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    lienthong_hostile::target(env!("CARGO_BIN_NAME")).expect("tests/hostile has no such target")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
