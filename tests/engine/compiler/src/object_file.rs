//! Writing a compiled module as an ELF object file.

use object::write::{Object, StandardSegment, Symbol, SymbolSection};
use object::{
    BinaryFormat, Endianness, Object as _, ObjectSection, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};
use vmexternref_engine_abi::{Architecture, CompiledModule, ObjectFile, Target};
use wasmtime_environ::{StackMapSection, obj::ELF_WASMTIME_STACK_MAP};

use crate::error::CompileError;

/// Writes `module` as an object file, which [`ObjectFile::read`] reads.
///
/// Its stack maps are in the section and format of `wasmtime-environ`, and each function has a symbol, so that other
/// tools can tell what is where. Nothing in it has to be linked.
///
/// ```
/// use vmexternref_engine_compiler::{CompileOptions, compile, write_object_file};
/// use vmexternref_engine_abi::ObjectFile;
///
/// let options = CompileOptions {
///     target: Some("riscv64gc-unknown-none-elf".parse().expect("a triple")),
///     ..CompileOptions::default()
/// };
/// let bytes = write_object_file(compile(b"\0asm\x01\0\0\0", &options)?)?;
/// let file = ObjectFile::read(&bytes)?;
/// assert_eq!(file.module.target.to_string(), "riscv64 (64-bit)");
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Errors
///
/// When the module is for a machine without object files.
pub fn write_object_file(mut module: CompiledModule) -> Result<Vec<u8>, CompileError> {
    let safepoints = std::mem::take(&mut module.safepoints);
    let mut maps: Vec<_> = safepoints.iter().collect();
    maps.sort_unstable_by_key(|safepoint| safepoint.return_offset);
    let mut section = StackMapSection::default();
    for map in maps {
        let references = map.references.iter().copied();
        section.push(map.return_offset.into(), map.frame_bytes, references);
    }
    let target = module.target;
    let stack_maps = stack_map_bytes(section, target)?;
    let file = ObjectFile { module, stack_maps };
    let mut object = empty(target)?;
    for (name, bytes) in file.sections().map_err(CompileError::backend)? {
        let id = append(&mut object, name, &bytes);
        if name == ".text" {
            name_functions(&mut object, id, &file.module);
        }
    }
    if !file.stack_maps.is_empty() {
        append(&mut object, ELF_WASMTIME_STACK_MAP, &file.stack_maps);
    }
    object.write().map_err(CompileError::backend)
}

/// An object file without anything in it.
fn empty(target: Target) -> Result<Object<'static>, CompileError> {
    let architecture = match target.architecture {
        Architecture::X86_64 => object::Architecture::X86_64,
        Architecture::Aarch64 => object::Architecture::Aarch64,
        Architecture::Riscv64 => object::Architecture::Riscv64,
        _ => return Err(CompileError::Target("no object files for it".into())),
    };
    Ok(Object::new(
        BinaryFormat::Elf,
        architecture,
        Endianness::Little,
    ))
}

/// The bytes that `wasmtime-environ` writes, which it only writes into an object file.
fn stack_map_bytes(section: StackMapSection, target: Target) -> Result<Vec<u8>, CompileError> {
    let mut object = empty(target)?;
    section.append_to(&mut object);
    let file = object.write().map_err(CompileError::backend)?;
    let file = object::File::parse(&*file).map_err(CompileError::backend)?;
    let Some(section) = file.section_by_name(ELF_WASMTIME_STACK_MAP) else {
        return Ok(Vec::new());
    };
    let bytes = section.data().map_err(CompileError::backend)?;
    Ok(bytes.to_vec())
}

fn append(object: &mut Object<'_>, name: &str, bytes: &[u8]) -> object::write::SectionId {
    let (segment, kind, align) = match name {
        ".text" => (StandardSegment::Text, SectionKind::Text, 16),
        _ => (StandardSegment::Data, SectionKind::ReadOnlyData, 1),
    };
    let segment = object.segment_name(segment).to_vec();
    let id = object.add_section(segment, name.as_bytes().to_vec(), kind);
    object.append_section_data(id, bytes, align);
    id
}

/// Gives each function a symbol with its index in the module.
fn name_functions(
    object: &mut Object<'_>,
    text: object::write::SectionId,
    module: &CompiledModule,
) {
    let imported = module.imported_functions();
    for (index, range) in (imported..).zip(&module.functions) {
        object.add_symbol(Symbol {
            name: format!("wasm_function_{index}").into_bytes(),
            value: range.start.into(),
            size: (range.end - range.start).into(),
            kind: SymbolKind::Text,
            scope: SymbolScope::Compilation,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::write_object_file;
    use crate::{CompileOptions, compile};
    use object::{Object, ObjectSection, ObjectSymbol};
    use std::fs;
    use std::path::Path;
    use vmexternref_engine_abi::{CompiledModule, ObjectFile, ObjectFileError};
    use wasmtime_environ::{StackMap, obj::ELF_WASMTIME_STACK_MAP};

    const TARGETS: [&str; 3] = [
        "x86_64-unknown-none",
        "aarch64-unknown-none",
        "riscv64gc-unknown-none-elf",
    ];

    fn module(text: &str, target: &str) -> CompiledModule {
        let options = CompileOptions::for_target(target).unwrap();
        compile(&wat::parse_str(text).unwrap(), &options).unwrap()
    }

    fn program(name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../programs");
        fs::read_to_string(folder.join(name)).unwrap()
    }

    fn small() -> Vec<u8> {
        write_object_file(module(&program("garbage.wat"), TARGETS[0])).unwrap()
    }

    /// The stack maps that are not empty, as `(return offset, frame bytes, references)`.
    fn expected(module: &CompiledModule) -> Vec<(u32, u32, Vec<u32>)> {
        let full = |map: &&vmexternref_engine_abi::Safepoint| !map.references.is_empty();
        let maps = module.safepoints.iter().filter(full);
        let mut maps: Vec<_> = maps
            .map(|map| {
                let mut references = map.references.clone();
                references.sort_unstable();
                (map.return_offset, map.frame_bytes, references)
            })
            .collect();
        maps.sort_unstable();
        maps
    }

    #[test]
    fn the_reader_of_wasmtime_returns_what_was_written() {
        for target in TARGETS {
            for name in ["tail_calls.wat", "finalizers.wat", "deep_recursion.wat"] {
                let module = module(&program(name), target);
                let expected = expected(&module);
                assert!(expected.len() > 3, "{name}: {expected:?}");
                let bytes = write_object_file(module.clone()).unwrap();
                let file = object::File::parse(&*bytes).unwrap();
                let section = file.section_by_name(ELF_WASMTIME_STACK_MAP).unwrap();
                let section = section.data().unwrap();
                let read: Vec<_> = StackMap::iter(section)
                    .unwrap()
                    .map(|(pc, map)| (pc, map.frame_size(), map.offsets().collect::<Vec<_>>()))
                    .collect();
                assert_eq!(read, expected, "{name} for {target}");
                for offset in 0..u32::try_from(module.text.len()).unwrap() {
                    let found = StackMap::lookup(offset, section)
                        .map(|map| (offset, map.frame_size(), map.offsets().collect()));
                    let here = expected.iter().find(|(pc, ..)| *pc == offset);
                    assert_eq!(found.as_ref(), here, "{name} for {target}");
                }
            }
        }
    }

    #[test]
    fn modules_come_back_whole() {
        for target in TARGETS {
            let module = module(&program("tables.wat"), target);
            let bytes = write_object_file(module.clone()).unwrap();
            let read = ObjectFile::read(&bytes).unwrap().module;
            let without_safepoints = CompiledModule {
                safepoints: Vec::new(),
                ..module
            };
            assert_eq!(format!("{read:?}"), format!("{without_safepoints:?}"));
        }
    }

    #[test]
    fn functions_have_symbols() {
        let text = "(module (import \"a\" \"b\" (func)) (func) (func (result i32) (i32.const 1)))";
        let module = module(text, TARGETS[1]);
        let bytes = write_object_file(module.clone()).unwrap();
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
                // What was hit is nothing that the runtime reads, such as a symbol's name.
                Ok(file) => assert_eq!(format!("{file:?}"), whole, "byte {at}"),
            }
            bytes[at] ^= 0x10;
        }
        assert!(errors > bytes.len() / 2, "{errors} of {}", bytes.len());
    }

    #[test]
    fn foreign_files_are_errors() {
        let mut foreign = super::empty(module("(module)", TARGETS[0]).target).unwrap();
        super::append(&mut foreign, ".text", &[0xc3]);
        let error = ObjectFile::read(&foreign.write().unwrap()).err();
        let name = ".vmexternref.module";
        assert_eq!(error, Some(ObjectFileError::MissingSection(name)));
    }
}
