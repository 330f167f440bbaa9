//! Object files of compiled modules.

use crate::{TARGETS, compile_text, options};
use core::mem;
use object::{Object, ObjectSection, ObjectSymbol};
use std::fs;
use std::path::Path;
use vmexternref_engine_abi::{CompiledModule, ObjectFile};
use wasmtime_environ::{StackMap, obj::ELF_WASMTIME_STACK_MAP};

fn module(text: &str, target: &str) -> CompiledModule {
    compile_text(text, &options(target, false)).expect("a valid module")
}

fn program(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn write(module: CompiledModule) -> Vec<u8> {
    ObjectFile { module }.write().unwrap()
}

fn small() -> Vec<u8> {
    write(module(&program("garbage.wat"), TARGETS[0]))
}

#[test]
fn the_reader_of_wasmtime_finds_the_stack_maps_of_functions() {
    for target in TARGETS {
        for name in ["tail_calls.wat", "finalizers.wat", "deep_recursion.wat"] {
            let module = module(&program(name), target);
            let bytes = write(module.clone());
            let file = object::File::parse(&*bytes).unwrap();
            let section = file.section_by_name(ELF_WASMTIME_STACK_MAP).unwrap();
            let section = section.data().unwrap();
            assert_eq!(section, module.stack_maps, "{name} for {target}");
            let pcs: Vec<u32> = StackMap::iter(section).unwrap().map(|(pc, _)| pc).collect();
            assert!(pcs.len() > 3, "{name} for {target}: {pcs:?}");
            assert!(pcs.is_sorted(), "{name} for {target}");
            let functions = &module.functions;
            for pc in pcs {
                let within = functions.iter().any(|f| f.start < pc && pc <= f.end);
                assert!(within, "{name} for {target}: {pc:#x}");
            }
        }
    }
}

#[test]
fn modules_come_back_whole() {
    for target in TARGETS {
        let mut module = module(&program("tables.wat"), target);
        assert!(!module.stack_maps.is_empty());
        // Object files do not have them.
        let return_addresses = mem::take(&mut module.return_addresses);
        assert!(!return_addresses.is_empty() && return_addresses.is_sorted());
        let origin = mem::take(&mut module.origin);
        assert!(!origin.names.is_empty() && origin.calls.is_sorted());
        let read = ObjectFile::read(&write(module.clone())).unwrap().module;
        assert_eq!(format!("{read:?}"), format!("{module:?}"));
    }
}

#[test]
fn functions_have_symbols() {
    let text = "(module (import \"a\" \"b\" (func)) (func) (func (result i32) (i32.const 1)))";
    let module = module(text, TARGETS[1]);
    let bytes = write(module.clone());
    let file = object::File::parse(&*bytes).unwrap();
    for (index, range) in (1..).zip(&module.functions) {
        let name = format!("wasm_function_{index}");
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(&name));
        let symbol = symbol.expect(&name);
        assert_eq!(symbol.address(), u64::from(range.start));
        assert_eq!(symbol.size(), u64::from(range.end - range.start));
    }
}

#[test]
fn truncated_files_are_errors() {
    let bytes = small();
    for len in 0..bytes.len() {
        assert!(ObjectFile::read(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn damaged_files_are_errors_or_harmless() {
    let whole = format!("{:?}", ObjectFile::read(&small()).unwrap());
    let mut bytes = small();
    let mut errors = 0;
    for at in 0..bytes.len() {
        bytes[at] ^= 0x10;
        match ObjectFile::read(&bytes) {
            Err(_) => errors += 1,
            // The runtime does not read the changed byte: it belongs to a symbol's name, for
            // instance.
            Ok(file) => assert_eq!(format!("{file:?}"), whole, "byte {at}"),
        }
        bytes[at] ^= 0x10;
    }
    assert!(errors > bytes.len() / 2, "{errors} of {}", bytes.len());
}
