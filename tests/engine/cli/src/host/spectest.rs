//! The module `spectest` that the specification's scripts import.

use std::rc::Rc;
use vmexternref_engine_host::{Host, Shown};
use vmexternref_engine_runtime::ValType::{F32, F64, FuncRef, I32, I64};
use vmexternref_engine_runtime::{
    AccessError, FuncType, Global, GlobalType, Linker, Memory, MemoryType, Store, Table, TableType,
    Val, ValType,
};

/// The name and the parameters of each function. None has results.
const PRINTERS: [(&str, &[ValType]); 7] = [
    ("print", &[]),
    ("print_i32", &[I32]),
    ("print_i64", &[I64]),
    ("print_f32", &[F32]),
    ("print_f64", &[F64]),
    ("print_i32_f32", &[I32, F32]),
    ("print_f64_f64", &[F64, F64]),
];

/// Defines the module in `linker`. Its functions print to the console of `host`.
pub(crate) fn define(host: &Host, store: &Store, linker: &mut Linker) -> Result<(), AccessError> {
    for (name, params) in PRINTERS {
        let ty = FuncType::new(params.iter().copied(), []);
        let platform = Rc::clone(host.platform());
        let func = host.func(store, ty, move |_, args, _| {
            let words: Vec<_> = args.iter().map(|arg| Shown(arg).to_string()).collect();
            platform.print(format_args!("{}", words.join(" ")));
            Ok(())
        })?;
        linker.define("spectest", name, func)?;
    }
    for (name, value) in [
        ("global_i32", Val::I32(666)),
        ("global_i64", Val::I64(666)),
        ("global_f32", Val::F32(666.6_f32.to_bits())),
        ("global_f64", Val::F64(666.6_f64.to_bits())),
    ] {
        let ty = GlobalType {
            value: value.ty(),
            mutable: false,
        };
        linker.define("spectest", name, Global::new(store, ty, &value)?)?;
    }
    let table = TableType {
        element: FuncRef,
        minimum: 10,
        maximum: Some(20),
    };
    linker.define(
        "spectest",
        "table",
        Table::new(store, table, &Val::FuncRef(None))?,
    )?;
    let memory = MemoryType {
        minimum: 1,
        maximum: Some(2),
    };
    linker.define("spectest", "memory", Memory::new(store, memory)?)?;
    Ok(())
}
