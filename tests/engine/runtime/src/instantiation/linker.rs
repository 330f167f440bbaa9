//! Items by name.

use crate::code::Module;
use crate::error::InstantiateError;
use crate::external::Extern;
use crate::instantiation::instance::Instance;
use crate::store::Store;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

/// A name space of two levels, from which modules import.
#[derive(Clone, Debug, Default)]
pub struct Linker {
    modules: BTreeMap<String, BTreeMap<String, Extern>>,
}

impl Linker {
    /// An empty name space.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            modules: BTreeMap::new(),
        }
    }

    /// Defines or redefines one name.
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

    /// Defines the exports of `instance` under `module`, and removes all other names there.
    pub fn define_instance(&mut self, module: impl Into<String>, instance: &Instance) {
        let names = instance
            .exports()
            .map(|(name, item)| (String::from(name), item))
            .collect();
        self.modules.insert(module.into(), names);
    }

    /// The item of that name.
    #[must_use]
    pub fn lookup(&self, module: &str, name: &str) -> Option<Extern> {
        self.modules.get(module)?.get(name).copied()
    }

    /// Instantiates `module` with the items that its imports name.
    ///
    /// # Errors
    ///
    /// [`InstantiateError::UnknownImport`], and the errors of [`Instance::new`].
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
