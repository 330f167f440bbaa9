//! See `vmexternref_model::check`.

#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use vmexternref_model::{Tally, check};

fuzz_target!(|bytes: &[u8]| {
    // Bytes that describe no case are none.
    let _ = check(&mut Unstructured::new(bytes), &mut Tally::default());
});
