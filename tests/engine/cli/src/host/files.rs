//! The functions for files in the module `host`.
//!
//! | function | type | |
//! | --- | --- | --- |
//! | `open` | `[i32 i32] -> [externref]` | opens a file: address and bytes of its name; null on failure |
//! | `write` | `[externref i32 i32] -> [i32]` | appends memory: address and bytes; bytes written, or −1 |
//!
//! A file is closed when the last reference to it is dropped.

use super::directory::Directory;
use core::cell::Cell;
use core::fmt;
use std::fs::File;
use std::io::Write;
use std::rc::Rc;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_host::{
    Host, HostFunction, HostKind, HostObject, Platform, Resource, mistyped,
};
use vmexternref_engine_runtime::ValType::{ExternRef, I32};
use vmexternref_engine_runtime::{AccessError, Caller, Linker, Store, Trap, Val};

/// The state that both functions share.
#[derive(Clone, Debug)]
struct Files {
    host: Host,
    directory: Rc<Directory>,
}

const FUNCTIONS: [HostFunction<Files>; 2] = [
    ("open", &[I32, I32], &[ExternRef], open),
    ("write", &[ExternRef, I32, I32], &[I32], write),
];

/// Defines both functions in `linker`, for files in `directory`.
pub(crate) fn define(
    host: &Host,
    directory: &Rc<Directory>,
    store: &Store,
    linker: &mut Linker,
) -> Result<(), OutOfMemory> {
    let files = Files {
        host: host.clone(),
        directory: Rc::clone(directory),
    };
    host.define_more(&FUNCTIONS, &files, store, linker)
}

/// An open file of a guest.
#[derive(Debug)]
struct OpenFile {
    name: String,
    file: File,
    written: Cell<u64>,
    platform: Rc<dyn Platform>,
}

impl OpenFile {
    /// Wraps an open `file`. `platform` prints a line now, and another when the file is closed.
    fn new(name: String, file: File, platform: &Rc<dyn Platform>) -> Self {
        platform.print(format_args!("open: {name}"));
        Self {
            name,
            file,
            written: Cell::new(0),
            platform: Rc::clone(platform),
        }
    }

    /// Appends `bytes`. Returns the number of bytes written, or `None` on failure.
    fn write(&self, bytes: &[u8]) -> Option<usize> {
        let mut file = &self.file;
        let written = file.write(bytes).ok()?;
        self.written.set(self.written.get() + written as u64);
        Some(written)
    }
}

impl Resource for OpenFile {}

impl fmt::Display for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.name)
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.platform.print(format_args!(
            "close: {} ({} bytes written)",
            self.name,
            self.written.get()
        ));
    }
}

/// Copies `len` bytes at `address` of the caller's memory.
fn bytes(caller: &Caller<'_>, address: i32, len: i32) -> Result<Vec<u8>, Trap> {
    let memory = caller
        .memory(0)
        .ok_or_else(|| Trap::host("the calling module has no memory"))?;
    let size = memory.data(caller.store()).map_err(refused)?.len();
    let (address, len) = (address.cast_unsigned(), len.cast_unsigned());
    if u64::from(address) + u64::from(len) > size as u64 {
        return Err(refused(AccessError::MemoryOutOfBounds));
    }
    let mut bytes = vec![0; len as usize];
    memory
        .read(caller.store(), address, &mut bytes)
        .map_err(refused)?;
    Ok(bytes)
}

fn refused(error: AccessError) -> Trap {
    Trap::host(error)
}

fn open(files: &Files, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::I32(address), Val::I32(len)] = args else {
        return Err(mistyped());
    };
    let name = bytes(caller, *address, *len)?;
    let Ok(name) = String::from_utf8(name) else {
        return Ok(());
    };
    let shown = name.escape_debug().to_string();
    let platform = files.host.platform();
    match files.directory.open(&name) {
        Ok(file) => {
            let file = OpenFile::new(shown, file, platform);
            results[0] = files.host.object(|| HostKind::Resource(Box::new(file)));
        }
        Err(error) => platform.print(format_args!("cannot open {shown}: {error}")),
    }
    Ok(())
}

fn write(_: &Files, caller: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference), Val::I32(address), Val::I32(len)] = args else {
        return Err(mistyped());
    };
    results[0] = Val::I32(-1);
    if reference.is_none() {
        return Ok(());
    }
    let kind = HostObject::behind("write", reference.as_ref())?;
    let file = kind
        .resource::<OpenFile>()
        .ok_or_else(|| Trap::host(format_args!("host.write: {kind} is not a file")))?;
    let written = file.write(&bytes(caller, *address, *len)?);
    if let Some(written) = written.and_then(|written| i32::try_from(written).ok()) {
        results[0] = Val::I32(written);
    }
    Ok(())
}
