//! See `vmexternref_loaders::stack_maps`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmexternref_loaders::Loader;

fuzz_target!(|bytes: &[u8]| {
    Loader::named("stack_maps")
        .expect("it is in the list")
        .check(bytes);
});
