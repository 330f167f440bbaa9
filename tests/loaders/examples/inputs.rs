//! Runs one loader on damaged seeds: `inputs NAME COUNT [FIRST]`.
//!
//! The input of a number is always the same. A failure prints the number, with which `inputs NAME 1
//! NUMBER` repeats it.

use std::env;
use std::error::Error;
use std::panic;
use vmexternref_loaders::{LOADERS, Loader};

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
        let input = loader.input(number);
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
