//! See `vmexternref_loaders::text`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmexternref_loaders::Loader;

fuzz_target!(|bytes: &[u8]| {
    Loader::named("text")
        .expect("it is in the list")
        .check(bytes);
});
