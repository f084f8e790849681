//! Every target over its seeds, over what a fuzzer found before, and over seeds that were changed a little.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lienthong_hostile::{TARGETS, Target};

/// Changed seeds of one target; with LIENTHONG_TEST_LONG, a hundred times as many.
const MUTANTS: u64 = 3_000;

/// What all changed seeds of one target may take before the rest is left for the fuzzer.
const BUDGET: Duration = Duration::from_secs(3);

/// No input may take longer than this, however slow the machine.
const HANG: Duration = Duration::from_secs(20);

macro_rules! of_target {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                withstands(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_its_test_and_every_corpus_its_target() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
            for folder in std::fs::read_dir(corpus()).unwrap() {
                let folder = folder.unwrap();
                let name = folder.file_name().into_string().unwrap();
                assert!(folder.path().is_file() || tested.contains(&name.as_str()), "corpus/{name} is of no target");
            }
        }
    };
}

of_target! {
    batch bundle bundle_delta call_headers catalog certificate compression descriptor_set filter framing http index_segment
    journal key_rows log_segment note record revocation_list tile token trust_file
}

fn withstands(name: &str) {
    let target = lienthong_hostile::target(name).unwrap();
    let mut seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "no seed");
    for found in std::fs::read_dir(corpus().join(name)).into_iter().flatten() {
        seeds.push(std::fs::read(found.unwrap().path()).unwrap());
    }
    for seed in [Vec::new(), vec![0], vec![0xff; 64]].iter().chain(&seeds) {
        run(target, seed);
    }
    let long = std::env::var_os("LIENTHONG_TEST_LONG").is_some();
    let (mutants, budget) = if long { (100 * MUTANTS, 20 * BUDGET) } else { (MUTANTS, BUDGET) };
    let begun = Instant::now();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for number in 0..mutants {
        if begun.elapsed() > budget {
            break;
        }
        let seed = &seeds[usize::try_from(number).unwrap() % seeds.len()];
        run(target, &mutated(seed, &mut chance));
    }
}

fn run(target: &Target, input: &[u8]) {
    let begun = Instant::now();
    let ran = std::panic::catch_unwind(|| (target.run)(input));
    if ran.is_err() || begun.elapsed() > HANG {
        let shown = &input[..input.len().min(512)];
        panic!("{} took {:?} over {} bytes: {shown:02x?}", target.name, begun.elapsed(), input.len());
    }
}

/// A seed with one to four changes: a bit, a byte, a run cut out, doubled or overwritten, or its end gone.
fn mutated(seed: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len().max(1));
        let run = (1 + chance.below(16)).min(bytes.len() - at.min(bytes.len()));
        match chance.below(7) {
            _ if bytes.is_empty() => bytes.push(chance.byte()),
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.byte(),
            2 => drop(bytes.drain(at..at + run)),
            3 => {
                let copy = bytes[at..at + run].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes[at..at + run].fill(0xff),
            5 => bytes.insert(at, chance.byte()),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// xorshift64*: the same every time, so that what fails once fails again.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
