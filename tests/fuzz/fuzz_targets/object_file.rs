//! See `vmexternref_loaders::object_file`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vmexternref_loaders::Loader;

fuzz_target!(|bytes: &[u8]| {
    Loader::named("object_file")
        .expect("it is in the list")
        .check(bytes);
});
