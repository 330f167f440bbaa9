//! See `vmexternref_loaders::unwind_tables`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmexternref_loaders::Loader;

fuzz_target!(|bytes: &[u8]| {
    Loader::named("unwind_tables")
        .expect("it is in the list")
        .check(bytes);
});
