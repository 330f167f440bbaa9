//! Object files with compiled modules.

use crate::counting::Bound;
use object::{Object, ObjectSection};
use std::rc::Rc;
use vmexternref_engine_abi::{CompiledModule, ExternType, ObjectFile, Origin};
use vmexternref_engine_runtime::{
    CodePlacer, Extern, Func, Global, Instance, Limits, Memory, Module, PlaceError, PlacedCode,
    Store, Table, Val,
};

/// The store's limits allow for the fixed part, which a module of a few bytes can ask for.
pub(crate) const MEMORY: Bound = Bound {
    fixed: 64 << 20,
    per_byte: 512,
};

/// The section whose checksum is repaired.
const MODULE: &str = ".vmexternref.module";

/// Reads any bytes as an object file: as they are, and with the right checksum.
pub fn read(bytes: &[u8]) {
    load(bytes);
    let mut repaired = bytes.to_vec();
    if repair(&mut repaired).is_some() {
        load(&repaired);
    }
}

/// Writes a compiled module to an object file and loads that.
pub(crate) fn write_and_load(mut module: CompiledModule) {
    // Object files do not have them.
    module.origin = Origin::default();
    module.return_addresses.clear();
    let described = format!("{module:?}");
    let bytes = ObjectFile { module }.write().expect("a known machine");
    let file = ObjectFile::read(&bytes).expect("as it was written");
    assert_eq!(format!("{:?}", file.module), described);
    load(&bytes);
}

/// Reads, loads and instantiates, but runs nothing.
fn load(bytes: &[u8]) {
    let Ok(file) = ObjectFile::read(bytes) else {
        return;
    };
    let starts = file.module.start.is_some();
    let limits = Limits {
        max_memory_pages: 16,
        max_table_elements: 1 << 12,
        ..Limits::default()
    };
    let store = Store::new(Default::default(), limits, Rc::new(Nowhere));
    let store = store.expect("there is memory");
    let Ok(module) = Module::load_object(&store, file) else {
        return;
    };
    let imports: Option<Vec<_>> = module
        .imports()
        .iter()
        .map(|import| item(&store, &import.ty))
        .collect();
    if let Some(imports) = imports
        && !starts
        && let Ok(instance) = Instance::new(&store, &module, &imports)
    {
        assert_eq!(instance.exports().count(), module.exports().len());
    }
}

/// An item of that type, if the store can have one.
fn item(store: &Store, ty: &ExternType) -> Option<Extern> {
    Some(match ty {
        ExternType::Func(ty) => Func::host(store, ty.clone(), |_, _, _| Ok(())).ok()?.into(),
        ExternType::Table(ty) => {
            // A type from a file may be impossible.
            let initial = ty.element.is_ref().then(|| Val::default_for(ty.element))?;
            Table::new(store, *ty, &initial).ok()?.into()
        }
        ExternType::Memory(ty) => Memory::new(store, *ty).ok()?.into(),
        ExternType::Global(ty) => {
            let initial = Val::default_for(ty.value);
            Global::new(store, *ty, &initial).ok()?.into()
        }
    })
}

/// Code at an address where it cannot run.
struct Nowhere;

struct Text(Vec<u8>);

impl PlacedCode for Text {
    fn base(&self) -> *const u8 {
        let start = self.0.as_ptr();
        start.wrapping_add(start.align_offset(16))
    }
}

// SAFETY: nothing runs the code.
unsafe impl CodePlacer for Nowhere {
    fn place(
        &self,
        text: &[u8],
        _: &[u8],
        align: usize,
    ) -> Result<Box<dyn PlacedCode>, PlaceError> {
        Ok(Box::new(Text(vec![0; text.len() + align])))
    }
}

/// Writes the right checksum into an object file that has the place for one.
fn repair(bytes: &mut [u8]) -> Option<()> {
    let file = object::File::parse(&*bytes).ok()?;
    let section = |name| file.section_by_name(name)?.data().ok();
    let module = file.section_by_name(MODULE)?;
    let (place, _) = module.file_range()?;
    let (version, rest) = module.data().ok()?.split_at_checked(4)?;
    let (_, description) = rest.split_at_checked(8)?;
    let (text, unwind) = (section(".text")?, section(".vmexternref.eh_frame")?);
    let stack_maps = section(".wasmtime.stackmap").unwrap_or_default();
    let sum = checksum([text, unwind, stack_maps, description]);
    let place = usize::try_from(place).ok()? + version.len();
    bytes
        .get_mut(place..place + 8)?
        .copy_from_slice(&sum.to_le_bytes());
    Some(())
}

/// FNV-1a over the lengths of the parts, and then the parts.
fn checksum(parts: [&[u8]; 4]) -> u64 {
    let lengths = parts.map(|part| (part.len() as u64).to_le_bytes());
    let bytes = lengths.iter().flatten().chain(parts.into_iter().flatten());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
