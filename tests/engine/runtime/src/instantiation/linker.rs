//! Items by name, for modules that import them.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use crate::code::Module;
use crate::error::InstantiateError;
use crate::external::Extern;
use crate::instantiation::instance::Instance;
use crate::store::Store;

/// A name space of two levels, from which imports are taken.
#[derive(Clone, Debug, Default)]
pub struct Linker {
    modules: BTreeMap<String, BTreeMap<String, Extern>>,
}

impl Linker {
    /// Knows no names.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            modules: BTreeMap::new(),
        }
    }

    /// Defines one name, or redefines it.
    pub fn define(
        &mut self,
        module: impl Into<String>,
        name: impl Into<String>,
        item: impl Into<Extern>,
    ) {
        self.modules
            .entry(module.into())
            .or_default()
            .insert(name.into(), item.into());
    }

    /// Defines, under `module`, everything that `instance` exports and nothing else.
    pub fn define_instance(&mut self, module: impl Into<String>, instance: &Instance) {
        let names = instance
            .exports()
            .map(|(name, item)| (String::from(name), item))
            .collect();
        self.modules.insert(module.into(), names);
    }

    /// What a name stands for.
    #[must_use]
    pub fn lookup(&self, module: &str, name: &str) -> Option<Extern> {
        self.modules.get(module)?.get(name).copied()
    }

    /// Instantiates `module` with the items that its imports name.
    ///
    /// # Errors
    ///
    /// [`InstantiateError::UnknownImport`], and all that [`Instance::new`] says.
    pub fn instantiate(
        &self,
        store: &Store,
        module: &Rc<Module>,
    ) -> Result<Instance, InstantiateError> {
        let imports: Result<Vec<Extern>, InstantiateError> = module
            .imports()
            .iter()
            .map(|import| {
                self.lookup(&import.module, &import.name).ok_or_else(|| {
                    InstantiateError::UnknownImport {
                        module: import.module.clone(),
                        name: import.name.clone(),
                    }
                })
            })
            .collect();
        Instance::new(store, module, &imports?)
    }
}
