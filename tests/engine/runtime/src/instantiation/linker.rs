//! Items by name.

use crate::code::Module;
use crate::error::InstantiateError;
use crate::external::Extern;
use crate::heap::{try_reserve, try_to_string, try_with_capacity};
use crate::instantiation::imports::unknown;
use crate::instantiation::instance::Instance;
use crate::store::Store;
use alloc::string::String;
use alloc::vec::Vec;
use vmexternref_core::OutOfMemory;

/// A name space of two levels, from which modules import.
#[derive(Debug)]
pub struct Linker {
    modules: Names<Names<Extern>>,
}

impl Linker {
    /// An empty name space.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            modules: Names::new(),
        }
    }

    /// Defines or redefines one name.
    ///
    /// # Errors
    ///
    /// When there is no memory. Then nothing is defined.
    pub fn define(
        &mut self,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<(), OutOfMemory> {
        if let Ok(known) = self.modules.find(module) {
            return self.modules.at(known).set(name, item.into());
        }
        let mut names = Names::new();
        names.set(name, item.into())?;
        self.modules.set(module, names)
    }

    /// Defines the exports of `instance` under `module`, and removes all other names there.
    ///
    /// # Errors
    ///
    /// When there is no memory. Then nothing changes.
    pub fn define_instance(
        &mut self,
        module: &str,
        instance: &Instance,
    ) -> Result<(), OutOfMemory> {
        let mut names = try_with_capacity(instance.module().exports().len())?;
        for (name, item) in instance.exports() {
            names.push((try_to_string(name)?, item));
        }
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.modules.set(module, Names(names))
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
        module: &Module,
    ) -> Result<Instance, InstantiateError> {
        let mut items = try_with_capacity(module.imports().len())?;
        for import in module.imports() {
            let item = self.lookup(&import.module, &import.name);
            items.push(item.ok_or_else(|| unknown(import))?);
        }
        Instance::new(store, module, &items)
    }
}

impl Default for Linker {
    fn default() -> Self {
        Self::new()
    }
}

/// Values by name, sorted by it.
///
/// A map of the standard library aborts when there is no memory.
#[derive(Debug)]
struct Names<T>(Vec<(String, T)>);

impl<T> Names<T> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    /// The index of the name, or that at which it would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    fn get(&self, name: &str) -> Option<&T> {
        let (_, value) = &self.0[self.find(name).ok()?];
        Some(value)
    }

    /// The value at an index that was found.
    fn at(&mut self, index: usize) -> &mut T {
        &mut self.0[index].1
    }

    fn set(&mut self, name: &str, value: T) -> Result<(), OutOfMemory> {
        match self.find(name) {
            Ok(known) => *self.at(known) = value,
            Err(place) => {
                let name = try_to_string(name)?;
                try_reserve(&mut self.0, 1)?;
                self.0.insert(place, (name, value));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Linker;
    use crate::external::{Extern, Global};
    use crate::testing::store;
    use crate::value::Val;
    use vmexternref_engine_abi::{GlobalType, ValType};

    #[test]
    fn the_last_definition_of_a_name_counts() {
        let store = store();
        let ty = GlobalType {
            value: ValType::I32,
            mutable: false,
        };
        let [one, two] = [1, 2].map(|number| Global::new(&store, ty, &Val::I32(number)).unwrap());
        let mut linker = Linker::new();
        for (module, name, global) in [
            ("b", "y", one),
            ("a", "x", one),
            ("b", "x", two),
            ("c", "x", one),
            ("b", "y", two),
        ] {
            linker.define(module, name, global).unwrap();
        }
        let found = |module, name| linker.lookup(module, name).and_then(Extern::into_global);
        assert_eq!(found("a", "x"), Some(one));
        assert_eq!(found("b", "x"), Some(two));
        assert_eq!(found("b", "y"), Some(two));
        assert_eq!(found("c", "x"), Some(one));
        assert_eq!((found("a", "y"), found("d", "x")), (None, None));
    }
}
