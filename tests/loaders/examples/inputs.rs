//! Runs one loader on damaged seeds: `inputs NAME COUNT [FIRST]`.
//!
//! The input of a number is always the same. A failure prints the number, with which `inputs NAME 1
//! NUMBER` repeats it.

use arbitrary::Unstructured;
use std::env;
use std::error::Error;
use std::panic;
use vmexternref_loaders::{LOADERS, Loader};

/// Random bytes that each input is made of.
const ENTROPY: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let names: Vec<_> = LOADERS.iter().map(|loader| loader.name).collect();
    let usage = || format!("usage: inputs {} COUNT [FIRST]", names.join("|"));
    let loader = args.first().and_then(|name| Loader::named(name));
    let loader = loader.ok_or_else(usage)?;
    let count: u64 = args.get(1).ok_or_else(usage)?.parse()?;
    let first: u64 = args.get(2).map_or(Ok(0), |first| first.parse())?;
    (loader.seeds)();
    let mut bytes = 0;
    for number in first..first + count {
        let input = input(loader, number);
        bytes += input.len();
        if panic::catch_unwind(|| loader.check(&input)).is_err() {
            return Err(format!("{} fails at input {number}: {input:02x?}", loader.name).into());
        }
    }
    println!(
        "{}: {count} inputs from {first}, {bytes} bytes: all well",
        loader.name
    );
    Ok(())
}

/// The input of that number.
fn input(loader: &Loader, number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
    // SplitMix64, by Sebastiano Vigna.
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let entropy: Vec<u8> = (0..ENTROPY / 8)
        .flat_map(|_| next().to_le_bytes())
        .collect();
    let made = loader.arbitrary(&mut Unstructured::new(&entropy));
    // Without bytes left, the input is what there was.
    made.unwrap_or(entropy)
}
