//! Finds functions and calls by their address.

use core::cell::RefCell;
use core::fmt;
use core::ops::Range;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use vmexternref_engine_runtime::{CompiledModule, ExportItem};

/// The code of all modules of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodeMap {
    by_base: Rc<RefCell<BTreeMap<usize, ModuleCode>>>,
}

/// The functions and calls of one module.
#[derive(Debug)]
pub(crate) struct ModuleCode {
    len: usize,
    /// By index, the imported ones first.
    names: HashMap<usize, String>,
    imported_functions: usize,
    functions: Vec<Range<u32>>,
    /// Return offset, and place in the Wasm binary.
    calls: Vec<(u32, u32)>,
}

/// A place in a Wasm function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The index of the function.
    pub(crate) index: usize,
    /// `$name` from the name section, or `"name"` of an export.
    pub(crate) name: Option<String>,
    /// The offset of the call in the Wasm binary, in bytes.
    pub(crate) offset: Option<u32>,
}

impl CodeMap {
    /// Copies the parts of a module that messages need.
    pub(crate) fn describe(module: &CompiledModule) -> ModuleCode {
        let exports = module
            .exports
            .iter()
            .filter_map(|export| match export.item {
                ExportItem::Func(index) => Some((index as usize, format!("{:?}", export.name))),
                _ => None,
            });
        let mut names: HashMap<_, _> = exports.collect();
        let named = module.origin.names.iter();
        names.extend(named.map(|(index, name)| (*index as usize, format!("${name}"))));
        ModuleCode {
            len: module.text.len(),
            names,
            imported_functions: module.imported_functions(),
            functions: module.functions.clone(),
            calls: module.origin.calls.clone(),
        }
    }

    /// Adds a module whose text was placed at `base`.
    pub(crate) fn add(&self, base: usize, module: ModuleCode) {
        self.by_base.borrow_mut().insert(base, module);
    }

    /// Where the return address `pc` is, if it is in a Wasm function.
    pub(crate) fn find(&self, pc: usize) -> Option<Place> {
        let modules = self.by_base.borrow();
        let (base, module) = modules.range(..=pc).next_back()?;
        module.find(pc - base)
    }
}

impl ModuleCode {
    fn find(&self, offset: usize) -> Option<Place> {
        let offset = u32::try_from(offset).ok().filter(|_| offset <= self.len)?;
        // The return address of a call at a function's end lies right behind the function.
        let function = self
            .functions
            .iter()
            .position(|range| range.start < offset && offset <= range.end)?;
        let index = self.imported_functions + function;
        let call = self.calls.binary_search_by_key(&offset, |&(to, _)| to);
        Some(Place {
            index,
            name: self.names.get(&index).cloned(),
            offset: call.ok().map(|call| self.calls[call].1),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}", self.index)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match self.offset {
            Some(offset) => write!(f, " at {offset:#x}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CodeMap;
    use crate::source::assemble;
    use vmexternref_engine_compiler::{CompileOptions, compile};

    #[test]
    fn calls_are_found_by_where_they_return_to() {
        let wasm = assemble(
            r#"(module
              (import "host" "gc" (func $gc))
              (func $named (call $gc) (call $gc))
              (func (export "exp\"orted") (call $named)))"#,
        );
        let wasm = wasm.unwrap();
        let module = compile(&wasm, &CompileOptions::default()).unwrap();
        let code = CodeMap::describe(&module);
        let mut shown = Vec::new();
        for offset in 0..module.text.len() {
            let place = code.find(offset);
            if let Some(offset) = place.as_ref().and_then(|place| place.offset) {
                let call = [0x10, wasm[offset as usize + 1]];
                assert_eq!(wasm[offset as usize..][..2], call, "an instruction `call`");
                shown.push(place.unwrap().to_string());
            }
        }
        let functions: Vec<_> = shown
            .iter()
            .map(|shown| shown.split(" at ").next().unwrap())
            .collect();
        let named = "function 1 $named";
        assert_eq!(functions, [named, named, r#"function 2 "exp\"orted""#]);
        let end = module.functions[1].end as usize;
        assert_eq!(
            code.find(end).unwrap().index,
            2,
            "behind the last instruction"
        );
        assert_eq!(code.find(module.text.len() + 1), None);
        assert_eq!(code.find(0), None, "nothing returns there");
    }
}
