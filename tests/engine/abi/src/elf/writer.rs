//! Writing object files.

use crate::elf::description::{Description, checksum};
use crate::elf::object_file::ObjectFile;
use crate::elf::sections::{MODULE, STACK_MAPS, TEXT, UNWIND};
use crate::module::{Architecture, CompiledModule, TEXT_ALIGN, Target};
use alloc::format;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::ops::Range;
use object::write::{Error as FormatError, Object, SectionId, StandardSegment};
use object::write::{Symbol, SymbolSection};
use object::{BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

impl ObjectFile {
    /// Writes the bytes of an object file, which [`read`](Self::read) reads.
    ///
    /// Each function has a symbol, so that other tools can find it. Nothing in the file has to be
    /// linked.
    ///
    /// ```
    /// use vmexternref_engine_abi::{Architecture, CompiledModule, ObjectFile, Target};
    ///
    /// let target = Target { architecture: Architecture::Riscv64, pointer_bytes: 8 };
    /// let bytes = ObjectFile { module: CompiledModule::new(target, false) }.write()?;
    /// let file = ObjectFile::read(&bytes)?;
    /// assert_eq!(file.module.target.to_string(), "riscv64 (64-bit)");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A module for a machine without object files, or one that the format cannot hold.
    pub fn write(&self) -> Result<Vec<u8>, WriteError> {
        let module = &self.module;
        let encoded = postcard::to_allocvec(module).expect("plain data can be encoded");
        let (text, unwind, stack_maps) = (&module.text, &module.eh_frame, &module.stack_maps);
        let description = Description {
            checksum: checksum([text, unwind, stack_maps, &encoded]),
            module: &encoded,
        };
        let mut object = empty(module.target)?;
        let text = append_text(&mut object, text);
        name_functions(&mut object, text, module);
        append_data(&mut object, MODULE, &description.write());
        for (name, bytes) in [(UNWIND, unwind), (STACK_MAPS, stack_maps)] {
            if !bytes.is_empty() {
                append_data(&mut object, name, bytes);
            }
        }
        let mut file = object.write().map_err(WriteError::Format)?;
        if module.target.architecture == Architecture::Pulley {
            file[E_MACHINE].fill(0);
        }
        Ok(file)
    }
}

/// Where the ELF header names the machine. Bytecode is for none (`EM_NONE`, 0).
const E_MACHINE: Range<usize> = 18..20;

/// An object file with nothing in it. That of bytecode is for some machine yet.
fn empty(target: Target) -> Result<Object<'static>, WriteError> {
    let architecture = match target.architecture {
        Architecture::X86_64 => object::Architecture::X86_64,
        Architecture::Aarch64 => object::Architecture::Aarch64,
        Architecture::Pulley if target.pointer_bytes == 4 => object::Architecture::Riscv32,
        Architecture::Riscv64 | Architecture::Pulley => object::Architecture::Riscv64,
        Architecture::S390x => object::Architecture::S390x,
        Architecture::Other => return Err(WriteError::UnknownMachine),
    };
    let endianness = match target.architecture {
        Architecture::S390x => Endianness::Big,
        _ => Endianness::Little,
    };
    Ok(Object::new(BinaryFormat::Elf, architecture, endianness))
}

fn append_text(object: &mut Object<'_>, bytes: &[u8]) -> SectionId {
    let segment = object.segment_name(StandardSegment::Text).to_vec();
    let id = object.add_section(segment, TEXT.into(), SectionKind::Text);
    object.append_section_data(id, bytes, TEXT_ALIGN as u64);
    id
}

fn append_data(object: &mut Object<'_>, name: &str, bytes: &[u8]) {
    let segment = object.segment_name(StandardSegment::Data).to_vec();
    let id = object.add_section(segment, name.into(), SectionKind::ReadOnlyData);
    object.append_section_data(id, bytes, 1);
}

/// Gives each function a symbol with its index in the module.
fn name_functions(object: &mut Object<'_>, text: SectionId, module: &CompiledModule) {
    let imported = module.imported_functions();
    for (index, range) in (imported..).zip(&module.functions) {
        object.add_symbol(Symbol {
            name: format!("wasm_function_{index}").into_bytes(),
            value: range.start.into(),
            size: range.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Compilation,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
}

/// Why writing an object file failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// There are no object files for the module's machine.
    UnknownMachine,
    /// The format cannot hold the module.
    Format(FormatError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMachine => f.write_str("no object files for this machine"),
            Self::Format(error) => write!(f, "cannot write the object file: {error}"),
        }
    }
}

impl Error for WriteError {}

#[cfg(test)]
mod tests {
    use super::{append_text, empty};
    use crate::elf::object_file::ObjectFile;
    use crate::elf::object_file_error::ObjectFileError;
    use crate::elf::sections::MODULE;
    use crate::elf::writer::WriteError;
    use crate::module::{Architecture, CompiledModule, Target};

    const RISCV64: Target = Target {
        architecture: Architecture::Riscv64,
        pointer_bytes: 8,
    };

    #[test]
    fn bytecode_is_for_no_machine() {
        for pointer_bytes in [4, 8] {
            let target = Target {
                architecture: Architecture::Pulley,
                pointer_bytes,
            };
            let module = CompiledModule::new(target, false);
            let bytes = ObjectFile { module }.write().unwrap();
            let file = object::File::parse(&*bytes).unwrap();
            assert_eq!(
                object::Object::architecture(&file),
                object::Architecture::Unknown
            );
            let read = ObjectFile::read(&bytes).unwrap();
            assert_eq!(read.module.target, target);
        }
    }

    #[test]
    fn foreign_files_are_errors() {
        let mut foreign = empty(RISCV64).unwrap();
        append_text(&mut foreign, &[0xc3]);
        let error = ObjectFile::read(&foreign.write().unwrap()).err();
        assert_eq!(error, Some(ObjectFileError::MissingSection(MODULE)));
    }

    /// The file tells a linker the order of bytes in the code; what the runtime reads has one order
    /// everywhere.
    #[test]
    fn big_endian_machines_have_big_endian_files() {
        let (s390x, little, big) = (Architecture::S390x, 1, 2);
        for (architecture, order) in [(Architecture::Riscv64, little), (s390x, big)] {
            let target = Target {
                architecture,
                ..RISCV64
            };
            let module = CompiledModule::new(target, false);
            let file = ObjectFile { module }.write().unwrap();
            assert_eq!(file[5], order, "the field EI_DATA");
            assert_eq!(ObjectFile::read(&file).unwrap().module.target, target);
        }
    }

    #[test]
    fn machines_without_object_files_are_errors() {
        let target = Target {
            architecture: Architecture::Other,
            ..RISCV64
        };
        let module = CompiledModule::new(target, false);
        let error = ObjectFile { module }.write().err();
        assert_eq!(error, Some(WriteError::UnknownMachine));
    }
}
