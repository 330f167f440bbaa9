//! Compiled modules as ELF object files: what is in which section, and reading it back.
//!
//! | section | contents |
//! | --- | --- |
//! | `.text` | the machine code, to be placed as it is: nothing in it has to be relocated |
//! | `.vmexternref.eh_frame` | unwind tables, good only when placed right behind the text |
//! | `.wasmtime.stackmap` | stack maps, as `wasmtime-environ` writes and reads them |
//! | `.vmexternref.module` | version, checksum, and the module's description in `postcard` |
//!
//! The checksum tells a damaged file from a whole one. It proves nothing about who wrote the file: whoever loads a
//! file runs the machine code in it.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use object::{Object, ObjectSection};
use wasmtime_environ::obj::ELF_WASMTIME_STACK_MAP;

use crate::module::{Architecture, CompiledModule};

/// The section with the machine code.
const TEXT_SECTION: &str = ".text";
/// The section with the unwind tables.
const UNWIND_SECTION: &str = ".vmexternref.eh_frame";
/// The section with everything else.
const MODULE_SECTION: &str = ".vmexternref.module";
/// The version of the description, at the start of its section.
const VERSION: u32 = 2;

/// A compiled module, read from an object file or about to be written to one.
#[derive(Clone, Debug)]
pub struct ObjectFile {
    /// The module; its safepoints are empty, for they are in the section of stack maps.
    pub module: CompiledModule,
    /// The contents of `.wasmtime.stackmap`; empty if no call keeps a reference.
    pub stack_maps: Vec<u8>,
}

impl ObjectFile {
    /// Reads the bytes of an object file.
    ///
    /// The runtime checks the description when it loads the module.
    ///
    /// # Errors
    ///
    /// Bytes that are no such file, a file of another version or compiler, a damaged one, or no memory for the code.
    pub fn read(file: &[u8]) -> Result<Self, ObjectFileError> {
        let file = object::File::parse(file).map_err(|_| ObjectFileError::NotAnObject)?;
        let section = |name| {
            let section = file.section_by_name(name)?;
            section.data().ok()
        };
        let required = |name| section(name).ok_or(ObjectFileError::MissingSection(name));
        let description = Description::read(required(MODULE_SECTION)?)?;
        let (text, unwind) = (required(TEXT_SECTION)?, required(UNWIND_SECTION)?);
        let stack_maps = section(ELF_WASMTIME_STACK_MAP).unwrap_or_default();
        if description.checksum != checksum([text, unwind, stack_maps, description.module]) {
            return Err(ObjectFileError::Damaged);
        }
        let (module, rest) = postcard::take_from_bytes::<CompiledModule>(description.module)
            .map_err(|_| ObjectFileError::Damaged)?;
        if !rest.is_empty() || architecture(&file) != module.target.architecture {
            return Err(ObjectFileError::Damaged);
        }
        Ok(Self {
            module: CompiledModule {
                text: copy(text)?,
                eh_frame: copy(unwind)?,
                ..module
            },
            stack_maps: copy(stack_maps)?,
        })
    }

    /// The sections beside that of the stack maps, by name, for whoever writes the file.
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn sections(&self) -> Result<[(&'static str, Vec<u8>); 3], ObjectFileError> {
        let module =
            postcard::to_allocvec(&self.module).map_err(|_| ObjectFileError::OutOfMemory)?;
        let (text, unwind) = (&self.module.text, &self.module.eh_frame);
        let description = Description {
            checksum: checksum([text, unwind, &self.stack_maps, &module]),
            module: &module,
        };
        Ok([
            (TEXT_SECTION, copy(text)?),
            (UNWIND_SECTION, copy(unwind)?),
            (MODULE_SECTION, description.write()),
        ])
    }
}

/// The section that describes the module.
struct Description<'a> {
    checksum: u64,
    module: &'a [u8],
}

impl<'a> Description<'a> {
    fn read(section: &'a [u8]) -> Result<Self, ObjectFileError> {
        let (version, rest) = section
            .split_first_chunk()
            .ok_or(ObjectFileError::Damaged)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(ObjectFileError::Version { found: version });
        }
        let (checksum, module) = rest.split_first_chunk().ok_or(ObjectFileError::Damaged)?;
        Ok(Self {
            checksum: u64::from_le_bytes(*checksum),
            module,
        })
    }

    fn write(&self) -> Vec<u8> {
        let head = [&VERSION.to_le_bytes()[..], &self.checksum.to_le_bytes()];
        [head.as_slice(), &[self.module]].concat().concat()
    }
}

/// FNV-1a over the parts and their lengths: changing any one byte changes it.
fn checksum(parts: [&[u8]; 4]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
    let bytes = lengths.iter().flatten().chain(parts.into_iter().flatten());
    bytes.fold(BASIS, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(PRIME)
    })
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
        _ => Architecture::Other,
    }
}

/// Why an object file could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectFileError {
    /// It is not an ELF object file, or a truncated one.
    NotAnObject,
    /// A section is missing: another compiler wrote the file.
    MissingSection(&'static str),
    /// Another version of the compiler wrote the file.
    Version {
        /// The version of the file.
        found: u32,
    },
    /// It is not what the compiler wrote.
    Damaged,
    /// There is no memory left.
    OutOfMemory,
}

impl fmt::Display for ObjectFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject => f.write_str("not an ELF object file"),
            Self::MissingSection(name) => {
                write!(
                    f,
                    "no section {name}: not written by this engine's compiler"
                )
            }
            Self::Version { found } => write!(
                f,
                "object file of version {found}, this runtime reads version {VERSION}"
            ),
            Self::Damaged => f.write_str("damaged object file"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl Error for ObjectFileError {}

#[cfg(test)]
mod tests {
    use super::{Description, ObjectFile, ObjectFileError, VERSION, checksum};

    #[test]
    fn descriptions_come_back() {
        let written = Description {
            checksum: 0x0123_4567_89ab_cdef,
            module: b"module",
        };
        let bytes = written.write();
        let read = Description::read(&bytes).unwrap();
        assert_eq!(read.checksum, written.checksum);
        assert_eq!(read.module, written.module);
        for cut in 0..12 {
            let error = Description::read(&bytes[..cut]).err();
            assert_eq!(error, Some(ObjectFileError::Damaged), "{cut}");
        }
        let mut other = bytes;
        other[0] += 1;
        let error = Description::read(&other).err();
        let found = VERSION + 1;
        assert_eq!(error, Some(ObjectFileError::Version { found }));
    }

    #[test]
    fn the_checksum_sees_where_parts_end() {
        let one = checksum([b"ab", b"c", b"", b"d"]);
        assert_ne!(one, checksum([b"a", b"bc", b"", b"d"]));
        assert_ne!(one, checksum([b"ab", b"c", b"", b"e"]));
        assert_eq!(one, checksum([b"ab", b"c", b"", b"d"]));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"\x7fELF", b"\0asm\x01\0\0\0", &[0; 200]] {
            let error = ObjectFile::read(bytes).err();
            assert_eq!(error, Some(ObjectFileError::NotAnObject));
        }
    }
}
