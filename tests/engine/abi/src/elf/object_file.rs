//! Reading object files.

use crate::elf::description::{Description, checksum};
use crate::elf::object_file_error::ObjectFileError;
use crate::elf::sections::{MODULE, STACK_MAPS, TEXT, UNWIND};
use crate::module::{Architecture, CompiledModule};
use alloc::vec::Vec;
use object::{Object, ObjectSection};

/// A compiled module as an ELF object file holds it.
#[derive(Clone, Debug)]
pub struct ObjectFile {
    /// The module.
    pub module: CompiledModule,
}

impl ObjectFile {
    /// Reads the bytes of an object file.
    ///
    /// The runtime checks the description when it loads the module.
    ///
    /// # Errors
    ///
    /// Bytes that are no object file, a file of another version or compiler, a damaged file, or no
    /// memory for the code.
    pub fn read(file: &[u8]) -> Result<Self, ObjectFileError> {
        let file = object::File::parse(file).map_err(|_| ObjectFileError::NotAnObject)?;
        let section = |name| {
            let section = file.section_by_name(name)?;
            section.data().ok()
        };
        let required = |name| section(name).ok_or(ObjectFileError::MissingSection(name));
        let description = Description::read(required(MODULE)?)?;
        let text = required(TEXT)?;
        let [unwind, stack_maps] =
            [UNWIND, STACK_MAPS].map(|name| section(name).unwrap_or_default());
        if description.checksum != checksum([text, unwind, stack_maps, description.module]) {
            return Err(ObjectFileError::Damaged);
        }
        let (module, rest) = postcard::take_from_bytes::<CompiledModule>(description.module)
            .map_err(|_| ObjectFileError::Damaged)?;
        if !rest.is_empty() || architecture(&file) != module.target.architecture {
            return Err(ObjectFileError::Damaged);
        }
        let module = CompiledModule {
            text: copy(text)?,
            eh_frame: copy(unwind)?,
            stack_maps: copy(stack_maps)?,
            ..module
        };
        Ok(Self { module })
    }
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>, ObjectFileError> {
    let mut copied = Vec::new();
    copied
        .try_reserve_exact(bytes.len())
        .map_err(|_| ObjectFileError::OutOfMemory)?;
    copied.extend_from_slice(bytes);
    Ok(copied)
}

fn architecture(file: &object::File<'_>) -> Architecture {
    match file.architecture() {
        object::Architecture::X86_64 => Architecture::X86_64,
        object::Architecture::Aarch64 => Architecture::Aarch64,
        object::Architecture::Riscv64 => Architecture::Riscv64,
        object::Architecture::S390x => Architecture::S390x,
        // No machine: ELF has no number for bytecode.
        object::Architecture::Unknown => Architecture::Pulley,
        _ => Architecture::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectFile, ObjectFileError};

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"\x7fELF", b"\0asm\x01\0\0\0", &[0; 200]] {
            let error = ObjectFile::read(bytes).err();
            assert_eq!(error, Some(ObjectFileError::NotAnObject));
        }
    }
}
