//! The sections of an object file.
//!
//! | section | contents |
//! | --- | --- |
//! | `.text` | machine code, which runs at any address without relocation |
//! | `.vmexternref.eh_frame` | unwind tables, valid only directly behind the text; absent if there is none |
//! | `.wasmtime.stackmap` | stack maps, as `wasmtime-environ` writes and reads them; absent if there is none |
//! | `.vmexternref.module` | version, checksum, and the module's description in `postcard` |
//!
//! The checksum tells a damaged file from a whole one. It does not tell who wrote the file. Loading
//! a file means running the machine code in it.

pub(crate) use wasmtime_environ::obj::ELF_WASMTIME_STACK_MAP as STACK_MAPS;

/// The section with the machine code.
pub(crate) const TEXT: &str = ".text";
/// The section with the unwind tables.
pub(crate) const UNWIND: &str = ".vmexternref.eh_frame";
/// The section with the description.
pub(crate) const MODULE: &str = ".vmexternref.module";
/// The version of the description, at the start of its section.
pub(crate) const VERSION: u32 = 3;
